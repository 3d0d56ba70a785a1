-- referrer_spam
-- Foreign sites named as referrer by clients that never look at anything else.
--
-- A visitor who comes from another site goes on with requests whose referrer is one's own site. Spam sends every request with the
-- site that it wants to be seen in statistics. Own sites are the domains that requests were for, and $own.
--
-- $window interval = 24 hours: how far back to look
-- $until timestamp = now: look back from this time
-- $own text = '': hosts of one's own that no domain shows, a regular expression; empty for none
-- $clients integer = 3: addresses that named the site, at least
-- $least integer = 10: requests that named the site, at least
-- $share number = 0.9: share of these addresses that sent every request with this referrer, at least
WITH seen AS (
    SELECT source_address, lower(regexp_extract(http_request_referrer, '^https?://(?:[^/@]*@)?(?:www\.)?([^/:?#]+)', 1)) AS site,
        lower(regexp_replace(url_domain, '^www\.', '')) AS domain, url_path, event_time
    FROM requests
    WHERE event_day >= ($until - $window)::DATE AND event_day <= $until::DATE
        AND event_time > $until - $window AND event_time <= $until
        AND source_address IS NOT NULL
), domains AS (
    SELECT DISTINCT domain FROM seen WHERE domain IS NOT NULL
), clients AS (
    SELECT source_address, site, count(*) AS requests_made, sum(count(*)) OVER (PARTITION BY source_address) AS all_requests,
        list(DISTINCT url_path) AS paths, min(event_time) AS first_seen, max(event_time) AS last_seen
    FROM seen
    GROUP BY source_address, site
)
SELECT site, count(*) AS clients, round(count(*) FILTER (WHERE requests_made = all_requests) / count(*), 3) AS pure_share,
    sum(requests_made)::BIGINT AS requests_made, len(list_distinct(flatten(list(paths)))) AS paths,
    min(first_seen) AS first_seen, max(last_seen) AS last_seen
FROM clients
WHERE site <> '' AND site NOT IN (SELECT domain FROM domains) AND NOT ($own <> '' AND regexp_matches(site, $own, 'i'))
GROUP BY site
HAVING count(*) >= $clients AND sum(requests_made) >= $least
    AND count(*) FILTER (WHERE requests_made = all_requests) / count(*) >= $share
ORDER BY requests_made DESC, site
