-- failed_login_bursts
-- Addresses that failed to log in many times within a few minutes, and whether they got in afterwards.
--
-- A failure is a request answered with 401 or 403, or one that sends a form to a login path and is answered with any other 4xx.
-- got_in counts the requests to a login path that were answered with 2xx or 3xx after the address had failed so often.
--
-- $window interval = 24 hours: how far back to look
-- $until timestamp = now: look back from this time
-- $within interval = 5 minutes: length of a burst
-- $least integer = 10: failures within a burst, at least
-- $login text = '/(log-?in|sign-?in|auth|session|token|wp-login)': login paths, a regular expression
WITH tries AS (
    SELECT event_time, ingest_batch, ingest_row, source_address, coalesce(user_name, account_id) AS who,
        http_response_status_code IN (401, 403)
            OR (http_response_status_code BETWEEN 400 AND 499 AND http_request_method = 'POST'
                AND regexp_matches(url_path, $login, 'i')) AS failed,
        http_response_status_code BETWEEN 200 AND 399 AND http_request_method = 'POST'
            AND regexp_matches(url_path, $login, 'i') AS entered
    FROM requests
    WHERE event_day >= ($until - $window)::DATE AND event_day <= $until::DATE
        AND event_time > $until - $window AND event_time <= $until
        AND source_address IS NOT NULL
), counted AS (
    SELECT event_time, source_address, who, failed, entered,
        count(*) FILTER (WHERE failed) OVER (
            PARTITION BY source_address ORDER BY event_time RANGE BETWEEN $within PRECEDING AND CURRENT ROW
        ) AS burst,
        count(*) FILTER (WHERE failed) OVER (
            PARTITION BY source_address ORDER BY event_time, ingest_batch, ingest_row
        ) AS so_far
    FROM tries
    WHERE failed OR entered
), peaks AS (
    SELECT source_address, max(burst) AS peak, count(*) FILTER (WHERE failed) AS failures,
        count(DISTINCT who) FILTER (WHERE failed) AS users,
        min(event_time) FILTER (WHERE failed) AS first_failure, max(event_time) FILTER (WHERE failed) AS last_failure,
        count(*) FILTER (WHERE entered AND so_far >= $least) AS got_in
    FROM counted
    GROUP BY source_address
)
SELECT source_address, peak, failures, users, got_in, first_failure, last_failure
FROM peaks
WHERE peak >= $least
ORDER BY got_in > 0 DESC, peak DESC, source_address
