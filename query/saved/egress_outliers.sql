-- egress_outliers
-- Users and addresses that were sent far more data than they usually are.
--
-- The time before is cut into stretches as long as the window, and a client is compared with its own average stretch (of those in
-- which it was there); one without a past is compared with the median client of the window. Requests without a user count for the
-- address. Bytes are those of responses, as the log counts them.
--
-- $window interval = 24 hours: the time that is judged
-- $until timestamp = now: look back from this time
-- $history interval = 14 days: how far back the comparison goes
-- $least integer = 100000000: bytes sent in the window, at least
-- $times number = 5: times the usual, at least
WITH sent AS (
    SELECT coalesce(user_name, account_id, source_address) AS client, http_response_body_bytes AS bytes, url_path,
        floor((epoch($until) - epoch(event_time)) / epoch($window))::BIGINT AS stretch
    FROM requests
    WHERE event_day >= ($until - $history)::DATE AND event_day <= $until::DATE
        AND event_time > $until - $history AND event_time <= $until
        AND http_response_body_bytes > 0 AND coalesce(user_name, account_id, source_address) IS NOT NULL
), summed AS (
    SELECT client, stretch, sum(bytes)::BIGINT AS bytes, count(*) AS requests_made, max(bytes) AS largest,
        arg_max(url_path, bytes) AS largest_path
    FROM sent
    GROUP BY client, stretch
), clients AS (
    SELECT client, avg(bytes) FILTER (WHERE stretch > 0) AS own_usual, count(*) FILTER (WHERE stretch > 0) AS past_stretches,
        max(bytes) FILTER (WHERE stretch = 0) AS bytes, max(requests_made) FILTER (WHERE stretch = 0) AS requests_made,
        max(largest) FILTER (WHERE stretch = 0) AS largest, max(largest_path) FILTER (WHERE stretch = 0) AS largest_path
    FROM summed
    GROUP BY client
    HAVING bool_or(stretch = 0)
), compared AS (
    SELECT client, bytes, requests_made, largest, largest_path, past_stretches,
        coalesce(own_usual, median(bytes) OVER ()) AS usual_bytes
    FROM clients
)
SELECT client, bytes, round(usual_bytes)::BIGINT AS usual_bytes, round(bytes / usual_bytes, 1) AS times_usual, past_stretches,
    requests_made, largest, largest_path
FROM compared
WHERE bytes >= $least AND bytes >= $times * usual_bytes
ORDER BY bytes DESC, client
