-- first_seen_devices
-- Users who came with a browser, system or kind of device that they had not used before.
--
-- Versions are left out, so that an update is no new device. Only users that were seen in the time before are judged, and refused
-- requests (401, 403) count neither as known nor as new.
--
-- $window interval = 24 hours: how far back to look for new devices
-- $until timestamp = now: look back from this time
-- $history interval = 30 days: how far back a device counts as known
-- $days integer = 3: days on which the user was seen before, at least
WITH visits AS (
    SELECT coalesce(user_name, account_id) AS who, event_time, event_day, source_address, source_geo_country_iso_code AS country,
        concat_ws(', ', user_agent_name, user_agent_os_name, user_agent_device_type) AS device,
        event_time > $until - $window AS recent
    FROM requests
    WHERE event_day >= ($until - $history)::DATE AND event_day <= $until::DATE
        AND event_time > $until - $history AND event_time <= $until
        AND coalesce(user_name, account_id) IS NOT NULL AND coalesce(user_agent_name, user_agent_os_name) IS NOT NULL
        AND coalesce(http_response_status_code, 0) NOT IN (401, 403)
), known AS (
    SELECT who, count(DISTINCT event_day) AS days_before, list(DISTINCT device ORDER BY device) AS devices_before
    FROM visits
    WHERE NOT recent
    GROUP BY who
), fresh AS (
    SELECT who, device, count(*) AS requests_made, min(event_time) AS first_seen,
        arg_min(source_address, event_time) AS first_address, arg_min(country, event_time) AS first_country
    FROM visits
    GROUP BY who, device
    HAVING bool_and(recent)
)
SELECT fresh.who, fresh.device, first_seen, first_address, first_country, requests_made, devices_before, days_before
FROM fresh JOIN known ON known.who = fresh.who
WHERE days_before >= $days
ORDER BY first_seen, fresh.who, fresh.device
