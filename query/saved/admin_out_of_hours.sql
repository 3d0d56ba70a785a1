-- admin_out_of_hours
-- Use of administration pages at night and at weekends.
--
-- Only requests that were answered with 2xx or 3xx count: scans of such paths are found by path_scanners. Hours are those of the
-- given time zone. Where $opens is 0 and $closes 24, only weekends are out of hours.
--
-- $window interval = 24 hours: how far back to look
-- $until timestamp = now: look back from this time
-- $paths text = '^/(admin|administrator|wp-admin|manager|manage|console|phpmyadmin|actuator|backoffice)(/|$)': paths, a regular expression
-- $zone text = UTC: time zone of the office, like Europe/Berlin
-- $opens integer = 7: hour at which work begins
-- $closes integer = 19: hour at which work ends
-- $weekend integer = 6: first day of the weekend, 1 for Monday; 8 for none
WITH used AS (
    SELECT coalesce(user_name, account_id) AS who, source_address, source_geo_country_iso_code AS country, url_path,
        http_request_method AS method, event_time, timezone($zone, event_time) AS local_time
    FROM requests
    WHERE event_day >= ($until - $window)::DATE AND event_day <= $until::DATE
        AND event_time > $until - $window AND event_time <= $until
        AND http_response_status_code BETWEEN 200 AND 399 AND regexp_matches(url_path, $paths, 'i')
)
SELECT who, source_address, any_value(country) AS country, count(*) AS requests_made,
    count(*) FILTER (WHERE method NOT IN ('GET', 'HEAD', 'OPTIONS')) AS changes,
    min(local_time) AS first_local, max(local_time) AS last_local, (list(DISTINCT url_path ORDER BY url_path))[1:5] AS paths
FROM used
WHERE hour(local_time) < $opens OR hour(local_time) >= $closes OR isodow(local_time) >= $weekend
GROUP BY who, source_address
ORDER BY changes DESC, requests_made DESC, who, source_address
