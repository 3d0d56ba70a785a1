-- injection_patterns
-- Requests that carry what attacks on databases, pages, files, shells and templates look like.
--
-- Path, query, referrer and agent are looked at, decoded twice, since attackers encode twice; escapes of bytes that are not ASCII
-- become a question mark. Most finds are the noise of scanners. answered says how many were answered with 2xx, failed how many
-- with 5xx: those are the ones to look at first.
--
-- $window interval = 24 hours: how far back to look
-- $until timestamp = now: look back from this time
-- $least integer = 1: such requests of one kind from an address, at least
WITH sent AS (
    SELECT source_address, source_geo_country_iso_code AS country, event_time, http_response_status_code AS status, url_path, url_query,
        url_decode(regexp_replace(replace(
            concat_ws(' ', url_path, url_query, http_request_referrer, user_agent_original), '+', ' '),
            '%[89a-f][0-9a-f]', '?', 'gi')) AS decoded_once
    FROM requests
    WHERE event_day >= ($until - $window)::DATE AND event_day <= $until::DATE
        AND event_time > $until - $window AND event_time <= $until
), decoded_twice AS (
    SELECT source_address, country, event_time, status, url_path, url_query,
        url_decode(regexp_replace(decoded_once, '%[89a-f][0-9a-f]', '?', 'gi')) AS decoded
    FROM sent
), matched AS (
    SELECT source_address, country, event_time, status, url_path, url_query, unnest([
        CASE WHEN regexp_matches(decoded,
            'union(\s|/\*.*?\*/)+(all(\s|/\*.*?\*/)+)?select(\s|/\*.*?\*/)+([\w.@]+\s*[,(]|null\b|\d|.{1,80}\bfrom(\s|/\*.*?\*/)+\w)'
            || '|[''"]\s*(or|and)\s+[''"]?\w+[''"]?\s*(=|like)\s*[''"]?\w|\b(or|and)\s+\d+\s*=\s*\d+'
            || '|;\s*(drop|truncate|insert|update|delete)\s+(table|database|into|from)\b'
            || '|\b(sleep|benchmark|pg_sleep)\s*\(\s*\d|\bwaitfor\s+delay\b|\binformation_schema\.', 'i') THEN 'sql' END,
        CASE WHEN regexp_matches(decoded,
            '<\s*(script|iframe|svg|img|body|object)\b[^>]*(>|\bon\w+\s*=)|javascript:\s*\w+\s*\('
            || '|\bon(error|load|mouseover|focus)\s*=\s*[''"]?\w+\s*\(', 'i') THEN 'script' END,
        CASE WHEN regexp_matches(decoded,
            '(\.\.[/\\]){2,}|/etc/(passwd|shadow|hosts)\b|\b(boot|win)\.ini\b|/proc/self/|php://(filter|input)|=\s*file:///', 'i')
            THEN 'file' END,
        CASE WHEN regexp_matches(decoded,
            '([;|`]|&&)\s*(cat|ls|id|whoami|uname|wget|curl|nc|bash|sh|powershell|ping)\b(\s|$|;|`)'
            || '|\$\((cat|ls|id|whoami|curl|wget)\b|\(\)\s*\{\s*:;\s*\}\s*;', 'i') THEN 'shell' END,
        CASE WHEN regexp_matches(decoded,
            '\$\{(jndi|lower|upper|env|sys|\$\{|::-)|[#$]\{\s*\d+\s*\*\s*\d+\s*\}|\{\{\s*\d+\s*\*\s*\d+\s*\}\}|<%=.*%>', 'i')
            THEN 'template' END
    ]) AS kind
    FROM decoded_twice
)
SELECT source_address, kind, any_value(country) AS country, count(*) AS requests_made,
    count(*) FILTER (WHERE status BETWEEN 200 AND 299) AS answered, count(*) FILTER (WHERE status >= 500) AS failed,
    min(event_time) AS first_seen, max(event_time) AS last_seen,
    left(arg_min(concat_ws('?', url_path, url_query), event_time), 200) AS example
FROM matched
WHERE kind IS NOT NULL
GROUP BY source_address, kind
HAVING count(*) >= $least
ORDER BY answered DESC, requests_made DESC, source_address, kind
