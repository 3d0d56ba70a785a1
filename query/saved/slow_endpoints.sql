-- slow_endpoints
-- Paths that are answered slowly, or much more slowly than before.
--
-- Numbers and long hexadecimal parts of a path are put together as *, so that /order/17 and /order/18 are one endpoint. The slow
-- twentieth of requests is compared (95th percentile), in milliseconds. usual_ms is null when there is no past to compare with.
--
-- $window interval = 24 hours: how far back to look
-- $until timestamp = now: look back from this time
-- $history interval = 7 days: how far back the comparison goes; the window itself is left out
-- $milliseconds number = 1000: 95th percentile, at least
-- $times number = 2: times the usual, at least; 0 to list every slow path
-- $least integer = 20: requests in the window, and in the past for a comparison, at least
WITH timed AS (
    SELECT url_domain, regexp_replace(url_path, '/([0-9]+|[0-9a-fA-F-]{16,})(/|$)', '/*\2', 'g') AS endpoint,
        event_duration / 1000000 AS ms, http_response_status_code AS status, event_time > $until - $window AS recent
    FROM requests
    WHERE event_day >= ($until - $history)::DATE AND event_day <= $until::DATE
        AND event_time > $until - $history AND event_time <= $until
        AND event_duration IS NOT NULL AND url_path IS NOT NULL
), measured AS (
    SELECT url_domain, endpoint, count(*) FILTER (WHERE recent) AS requests_made,
        count(*) FILTER (WHERE recent AND status >= 500) AS errors,
        quantile_cont(ms, 0.5) FILTER (WHERE recent) AS median_ms, quantile_cont(ms, 0.95) FILTER (WHERE recent) AS p95_ms,
        max(ms) FILTER (WHERE recent) AS longest_ms,
        CASE WHEN count(*) FILTER (WHERE NOT recent) >= $least THEN quantile_cont(ms, 0.95) FILTER (WHERE NOT recent) END AS usual_ms
    FROM timed
    GROUP BY url_domain, endpoint
)
SELECT url_domain, endpoint, requests_made, errors, round(median_ms, 1) AS median_ms, round(p95_ms, 1) AS p95_ms,
    round(longest_ms, 1) AS longest_ms, round(usual_ms, 1) AS usual_ms, round(p95_ms / nullif(usual_ms, 0), 1) AS times_usual
FROM measured
WHERE requests_made >= $least AND p95_ms >= $milliseconds AND p95_ms >= $times * coalesce(usual_ms, 0)
ORDER BY p95_ms DESC, url_domain, endpoint
