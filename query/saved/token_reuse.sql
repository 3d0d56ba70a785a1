-- token_reuse
-- Tokens and accounts that were used from several countries at nearly the same time.
--
-- The token is the text at $token in the column labels (a key, or a path like '$.session.id'); where a row has none, the account,
-- then the user. Secrets in URLs are redacted before storing, so a token must have been logged in a field of its own, best as a
-- digest. Refused requests (401, 403) do not count: there the token did not work.
--
-- $window interval = 24 hours: how far back to look
-- $until timestamp = now: look back from this time
-- $within interval = 1 hour: time within which the countries must lie
-- $countries integer = 2: different countries within that time, at least
-- $token text = token_id: where labels hold the token
WITH used AS (
    SELECT coalesce(json_extract_string(labels, $token), account_id, user_name) AS token,
        source_geo_country_iso_code AS country, source_address, event_time
    FROM requests
    WHERE event_day >= ($until - $window)::DATE AND event_day <= $until::DATE
        AND event_time > $until - $window AND event_time <= $until
        AND source_geo_country_iso_code IS NOT NULL AND coalesce(http_response_status_code, 0) NOT IN (401, 403)
), minutes AS (
    SELECT token, country, date_trunc('minute', event_time) AS at_minute, count(*) AS requests_made,
        list(DISTINCT source_address) AS addresses
    FROM used
    WHERE token IS NOT NULL
    GROUP BY token, country, at_minute
), spread AS (
    SELECT token, country, at_minute, requests_made, addresses,
        count(DISTINCT country) OVER (
            PARTITION BY token ORDER BY at_minute RANGE BETWEEN $within PRECEDING AND CURRENT ROW
        ) AS countries_within
    FROM minutes
)
SELECT token, max(countries_within) AS countries_at_once, min(at_minute) FILTER (WHERE countries_within >= $countries) AS first_noticed,
    list(DISTINCT country ORDER BY country) AS countries, len(list_distinct(flatten(list(addresses)))) AS addresses,
    sum(requests_made)::BIGINT AS requests_made
FROM spread
GROUP BY token
HAVING max(countries_within) >= $countries
ORDER BY countries_at_once DESC, token
