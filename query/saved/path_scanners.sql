-- path_scanners
-- Addresses that asked for many different paths that do not exist or are forbidden.
--
-- Counts different paths, not requests, so that one broken link asked for a thousand times is no scan; the share of misses
-- leaves out crawlers that find most of what they ask for. found lists what the scanner got (2xx), a few examples.
--
-- $window interval = 24 hours: how far back to look
-- $until timestamp = now: look back from this time
-- $paths integer = 30: different paths missed, at least
-- $share number = 0.5: share of the address's requests that were misses, at least
WITH asked AS (
    SELECT source_address, source_as_organization_name, user_agent_original, event_time, url_path,
        http_response_status_code IN (400, 403, 404, 405, 410) AS missed,
        http_response_status_code BETWEEN 200 AND 299 AS got
    FROM requests
    WHERE event_day >= ($until - $window)::DATE AND event_day <= $until::DATE
        AND event_time > $until - $window AND event_time <= $until
        AND source_address IS NOT NULL AND url_path IS NOT NULL
)
SELECT source_address, any_value(source_as_organization_name) AS network, count(DISTINCT url_path) FILTER (WHERE missed) AS paths_missed,
    count(*) FILTER (WHERE missed) AS misses, count(*) AS requests_made, round(count(*) FILTER (WHERE missed) / count(*), 3) AS miss_share,
    (list(DISTINCT url_path ORDER BY url_path) FILTER (WHERE got))[1:5] AS found,
    (list(DISTINCT url_path ORDER BY url_path) FILTER (WHERE missed))[1:5] AS examples,
    count(DISTINCT user_agent_original) AS agents, min(event_time) AS first_seen, max(event_time) AS last_seen
FROM asked
GROUP BY source_address
HAVING paths_missed >= $paths AND count(*) FILTER (WHERE missed) / count(*) >= $share
ORDER BY paths_missed DESC, source_address
