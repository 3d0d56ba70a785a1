-- first_seen_countries
-- Users who came from a country that they had not come from before.
--
-- Only users that were seen in the time before are judged: everything about a new user is new. Refused requests (401, 403) do not
-- make a country known, nor are they reported: failed_login_bursts and password_spraying look at those.
--
-- $window interval = 24 hours: how far back to look for new countries
-- $until timestamp = now: look back from this time
-- $history interval = 30 days: how far back a country counts as known
-- $days integer = 3: days on which the user was seen before, at least
WITH visits AS (
    SELECT coalesce(user_name, account_id) AS who, source_geo_country_iso_code AS country, event_time, event_day,
        source_address, event_time > $until - $window AS recent
    FROM requests
    WHERE event_day >= ($until - $history)::DATE AND event_day <= $until::DATE
        AND event_time > $until - $history AND event_time <= $until
        AND coalesce(user_name, account_id) IS NOT NULL AND source_geo_country_iso_code IS NOT NULL
        AND coalesce(http_response_status_code, 0) NOT IN (401, 403)
), known AS (
    SELECT who, count(DISTINCT event_day) AS days_before, list(DISTINCT country ORDER BY country) AS countries_before
    FROM visits
    WHERE NOT recent
    GROUP BY who
), fresh AS (
    SELECT who, country, count(*) AS requests_made, count(DISTINCT source_address) AS addresses,
        arg_min(source_address, event_time) AS first_address, min(event_time) AS first_seen
    FROM visits
    GROUP BY who, country
    HAVING bool_and(recent)
)
SELECT fresh.who, fresh.country, first_seen, first_address, addresses, requests_made, countries_before, days_before
FROM fresh JOIN known ON known.who = fresh.who
WHERE days_before >= $days
ORDER BY first_seen, fresh.who, fresh.country
