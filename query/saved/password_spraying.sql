-- password_spraying
-- Addresses that failed to log in as many different users, with few tries for each.
--
-- One password tried on many accounts stays below the limit of tries that an account has, so it shows only when failures are put
-- together by address. entered names the users that the address was then let in as.
--
-- $window interval = 24 hours: how far back to look
-- $until timestamp = now: look back from this time
-- $users integer = 10: different users, at least
-- $tries number = 3: failures for each user on average, at most
WITH tries AS (
    SELECT source_address, coalesce(user_name, account_id) AS who, event_time, source_as_organization_name,
        http_response_status_code IN (401, 403) AS failed,
        http_response_status_code BETWEEN 200 AND 399 AS entered
    FROM requests
    WHERE event_day >= ($until - $window)::DATE AND event_day <= $until::DATE
        AND event_time > $until - $window AND event_time <= $until
        AND coalesce(user_name, account_id) IS NOT NULL AND source_address IS NOT NULL
), by_user AS (
    SELECT source_address, who, any_value(source_as_organization_name) AS network,
        count(*) FILTER (WHERE failed) AS failures,
        min(event_time) FILTER (WHERE failed) AS first_failure, max(event_time) FILTER (WHERE failed) AS last_failure,
        max(event_time) FILTER (WHERE entered) AS last_entry
    FROM tries
    GROUP BY source_address, who
)
SELECT source_address, any_value(network) AS network, count(*) AS users, sum(failures)::BIGINT AS failures,
    round(sum(failures) / count(*), 2) AS failures_per_user,
    list(who ORDER BY who) FILTER (WHERE last_entry > first_failure) AS entered,
    min(first_failure) AS first_failure, max(last_failure) AS last_failure
FROM by_user
WHERE failures > 0
GROUP BY source_address
HAVING count(*) >= $users AND sum(failures) / count(*) <= $tries
ORDER BY users DESC, source_address
