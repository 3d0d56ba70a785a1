-- false_browsers
-- Clients that call themselves a browser and behave like a program.
--
-- A browser that shows pages also loads pictures, styles and scripts, and sends the page it came from. Clients that ask for many
-- different pages at some speed, with next to no such requests and next to no referrers, are programs. Where pictures and scripts
-- are served from elsewhere, set $assets to 1 and rely on the referrers.
--
-- $window interval = 24 hours: how far back to look
-- $until timestamp = now: look back from this time
-- $pages integer = 100: different pages, at least
-- $per_minute integer = 20: requests within the busiest minute, at least
-- $assets number = 0.02: share of requests for pictures, styles, scripts and fonts, at most
-- $referrers number = 0.05: share of requests with a referrer, at most
WITH browsing AS (
    SELECT source_address, user_agent_original AS agent, user_agent_name, source_as_organization_name, url_path,
        date_trunc('minute', event_time) AS at_minute,
        regexp_matches(url_path, '\.(css|js|mjs|png|jpe?g|gif|svg|webp|avif|ico|woff2?|ttf|eot|map)$', 'i') AS asset,
        coalesce(http_request_referrer, '') NOT IN ('', '-') AS referred
    FROM requests
    WHERE event_day >= ($until - $window)::DATE AND event_day <= $until::DATE
        AND event_time > $until - $window AND event_time <= $until
        AND starts_with(user_agent_original, 'Mozilla/') AND coalesce(user_agent_device_type, '') <> 'bot'
        AND source_address IS NOT NULL AND url_path IS NOT NULL
), minutes AS (
    SELECT source_address, agent, at_minute, any_value(user_agent_name) AS browser, any_value(source_as_organization_name) AS network,
        count(*) AS requests_made, count(*) FILTER (WHERE asset) AS assets, count(*) FILTER (WHERE referred) AS referred,
        list(DISTINCT url_path) FILTER (WHERE NOT asset) AS pages
    FROM browsing
    GROUP BY source_address, agent, at_minute
), clients AS (
    SELECT source_address, agent, any_value(browser) AS browser, any_value(network) AS network,
        sum(requests_made)::BIGINT AS requests_made, len(list_distinct(flatten(list(pages)))) AS pages,
        max(requests_made) AS per_minute, sum(assets) / sum(requests_made) AS asset_share,
        sum(referred) / sum(requests_made) AS referrer_share, min(at_minute) AS first_seen, max(at_minute) AS last_seen
    FROM minutes
    GROUP BY source_address, agent
)
SELECT source_address, network, browser, requests_made, pages, per_minute, round(asset_share, 3) AS asset_share,
    round(referrer_share, 3) AS referrer_share, first_seen, last_seen, agent
FROM clients
WHERE pages >= $pages AND per_minute >= $per_minute AND asset_share <= $assets AND referrer_share <= $referrers
ORDER BY requests_made DESC, source_address, agent
