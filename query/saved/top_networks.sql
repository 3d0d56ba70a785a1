-- top_networks
-- The networks (autonomous systems) that most requests came from, and what they were answered.
--
-- times_before compares with the time just before, as long as the window; it is null for a network that was not there.
--
-- $window interval = 24 hours: how far back to look
-- $until timestamp = now: look back from this time
-- $most integer = 20: networks shown, at most
WITH seen AS (
    SELECT source_as_number AS as_number, source_as_organization_name AS network, source_address, source_geo_country_iso_code AS country,
        http_response_body_bytes AS bytes, http_response_status_code AS status, user_agent_device_type = 'bot' AS bot,
        coalesce(user_name, account_id) AS who, event_time > $until - $window AS recent
    FROM requests
    WHERE event_day >= ($until - $window - $window)::DATE AND event_day <= $until::DATE
        AND event_time > $until - $window - $window AND event_time <= $until
        AND source_as_number IS NOT NULL
)
SELECT as_number, any_value(network) AS network, count(*) FILTER (WHERE recent) AS requests_made,
    round(count(*) FILTER (WHERE recent) / nullif(count(*) FILTER (WHERE NOT recent), 0), 1) AS times_before,
    count(DISTINCT source_address) FILTER (WHERE recent) AS addresses, count(DISTINCT who) FILTER (WHERE recent) AS users,
    coalesce(sum(bytes) FILTER (WHERE recent), 0)::BIGINT AS bytes,
    round(count(*) FILTER (WHERE recent AND status >= 400) / count(*) FILTER (WHERE recent), 3) AS error_share,
    round(count(*) FILTER (WHERE recent AND bot) / count(*) FILTER (WHERE recent), 3) AS bot_share,
    list(DISTINCT country ORDER BY country) FILTER (WHERE recent AND country IS NOT NULL) AS countries
FROM seen
GROUP BY as_number
HAVING count(*) FILTER (WHERE recent) > 0
ORDER BY requests_made DESC, as_number
LIMIT $most
