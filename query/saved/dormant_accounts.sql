-- dormant_accounts
-- Accounts that were quiet for weeks and are in use again.
--
-- Refused requests (401, 403) count neither as use before nor as use now. old_countries and new_countries help to tell a
-- holiday from a theft. Accounts seen for the first time are not shown.
--
-- $window interval = 24 hours: how far back the account must be in use again
-- $until timestamp = now: look back from this time
-- $quiet interval = 30 days: time without any request before that, at least
-- $history interval = 180 days: how far back former use is looked for
WITH used AS (
    SELECT coalesce(user_name, account_id) AS who, event_time, source_address, source_geo_country_iso_code AS country,
        event_time > $until - $window AS recent
    FROM requests
    WHERE event_day >= ($until - $history)::DATE AND event_day <= $until::DATE
        AND event_time > $until - $history AND event_time <= $until
        AND coalesce(user_name, account_id) IS NOT NULL AND coalesce(http_response_status_code, 0) NOT IN (401, 403)
), accounts AS (
    SELECT who, max(event_time) FILTER (WHERE NOT recent) AS last_before, min(event_time) FILTER (WHERE recent) AS awake_since,
        count(*) FILTER (WHERE recent) AS requests_made, arg_min(source_address, event_time) FILTER (WHERE recent) AS new_address,
        list(DISTINCT country ORDER BY country) FILTER (WHERE recent AND country IS NOT NULL) AS new_countries,
        list(DISTINCT country ORDER BY country) FILTER (WHERE NOT recent AND country IS NOT NULL) AS old_countries
    FROM used
    GROUP BY who
)
SELECT who, last_before, awake_since, date_diff('day', last_before, awake_since) AS days_quiet, requests_made, new_address,
    new_countries, old_countries
FROM accounts
WHERE awake_since >= last_before + $quiet
ORDER BY days_quiet DESC, who
