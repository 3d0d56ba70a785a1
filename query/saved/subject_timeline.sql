-- subject_timeline
-- Everything that one user, account or address did, in order of time.
--
-- The subject is compared with user name, account, address and IP address, letter for letter.
--
-- $subject text: user name, account or address
-- $window interval = 24 hours: how far back to look
-- $until timestamp = now: look back from this time
-- $most integer = 10000: rows, at most
SELECT event_time, user_name, account_id, source_address, source_geo_country_iso_code AS country, source_as_organization_name AS network,
    http_request_method AS method, url_domain, url_path, url_query, http_response_status_code AS status,
    http_response_body_bytes AS bytes, event_duration // 1000000 AS milliseconds, user_agent_name AS agent, user_agent_os_name AS os,
    http_request_referrer AS referrer, http_request_id AS request_id
FROM requests
WHERE event_day >= ($until - $window)::DATE AND event_day <= $until::DATE
    AND event_time > $until - $window AND event_time <= $until
    AND (user_name = $subject OR account_id = $subject OR source_address = $subject OR source_ip = $subject)
ORDER BY event_time, ingest_batch, ingest_row
LIMIT $most
