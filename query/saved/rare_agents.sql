-- rare_agents
-- User agents of the last day that hardly anybody else has sent in the time before.
--
-- Tools that an attacker writes or names himself show as agents with few addresses and a small share of all requests. Requests
-- without an agent are shown as '-'.
--
-- $window interval = 24 hours: how far back the agent must have been seen
-- $until timestamp = now: look back from this time
-- $history interval = 7 days: how far back agents are counted
-- $addresses integer = 2: addresses that sent it in the whole time, at most
-- $share number = 0.001: share of all requests in the whole time, at most
-- $least integer = 5: requests in the window, at least
WITH seen AS (
    SELECT coalesce(nullif(user_agent_original, ''), '-') AS agent, source_address, event_time, url_path, http_response_status_code,
        event_time > $until - $window AS recent
    FROM requests
    WHERE event_day >= ($until - $history)::DATE AND event_day <= $until::DATE
        AND event_time > $until - $history AND event_time <= $until
), agents AS (
    SELECT agent, count(*) FILTER (WHERE recent) AS recent_requests, count(*) AS all_requests, count(DISTINCT source_address) AS addresses,
        any_value(source_address) AS an_address, count(DISTINCT url_path) FILTER (WHERE recent) AS paths,
        count(*) FILTER (WHERE recent AND http_response_status_code >= 400) AS errors, min(event_time) AS first_seen,
        max(event_time) AS last_seen, count(*) / sum(count(*)) OVER () AS share
    FROM seen
    GROUP BY agent
)
SELECT agent, recent_requests, all_requests, addresses, an_address, paths, errors, first_seen, last_seen
FROM agents
WHERE recent_requests >= $least AND addresses <= $addresses AND share <= $share
ORDER BY recent_requests DESC, agent
