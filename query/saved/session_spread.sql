-- session_spread
-- Users whose requests came from many addresses and networks within a short time.
--
-- Shared passwords, stolen sessions and rented proxies look like this; a telephone that moves between networks changes them one by
-- one. Counts are of the busiest stretch that ends with a request.
--
-- $window interval = 24 hours: how far back to look
-- $until timestamp = now: look back from this time
-- $within interval = 1 hour: length of a stretch
-- $addresses integer = 5: different addresses within a stretch, at least
-- $networks integer = 3: different autonomous systems within a stretch, at least
WITH seen AS (
    SELECT coalesce(user_name, account_id) AS who, source_address, source_as_number, source_geo_country_iso_code AS country,
        date_trunc('minute', event_time) AS at_minute, count(*) AS requests_made
    FROM requests
    WHERE event_day >= ($until - $window)::DATE AND event_day <= $until::DATE
        AND event_time > $until - $window AND event_time <= $until
        AND coalesce(user_name, account_id) IS NOT NULL AND source_address IS NOT NULL
        AND coalesce(http_response_status_code, 0) NOT IN (401, 403)
    GROUP BY ALL
), spread AS (
    SELECT who, at_minute, source_address, country, requests_made,
        count(DISTINCT source_address) OVER stretch AS addresses, count(DISTINCT source_as_number) OVER stretch AS networks
    FROM seen
    WINDOW stretch AS (PARTITION BY who ORDER BY at_minute RANGE BETWEEN $within PRECEDING AND CURRENT ROW)
)
SELECT who, max(addresses) FILTER (WHERE networks >= $networks) AS peak_addresses, max(networks) AS peak_networks,
    arg_max(at_minute, addresses) FILTER (WHERE networks >= $networks) AS peak_ends, count(DISTINCT source_address) AS all_addresses,
    list(DISTINCT country ORDER BY country) FILTER (WHERE country IS NOT NULL) AS countries, sum(requests_made)::BIGINT AS requests_made
FROM spread
GROUP BY who
HAVING bool_or(addresses >= $addresses AND networks >= $networks)
ORDER BY peak_addresses DESC, who
