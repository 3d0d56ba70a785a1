-- error_spikes
-- Stretches of time in which the share of 4xx or 5xx answers was far above what it had been before.
--
-- The share, not the number, is compared, so that more traffic alone is no spike. A stretch is a spike when its share exceeds the
-- mean of the baseline's stretches by $deviations standard deviations; a deviation counts as at least $noise, so that a very calm
-- past does not make every error a spike. Stretches without requests are no part of the baseline.
--
-- $window interval = 24 hours: how far back to look for spikes
-- $until timestamp = now: look back from this time
-- $baseline interval = 7 days: how far back the comparison goes; the window itself is left out
-- $bucket interval = 1 hour: length of a stretch
-- $least integer = 20: errors in the stretch, at least
-- $deviations number = 3: standard deviations above the mean
-- $noise number = 0.01: smallest standard deviation of the share that is believed
-- $stretches integer = 12: stretches with requests that the baseline must have, at least
WITH counted AS (
    SELECT time_bucket($bucket, event_time) AS begins, count(*) AS requests_made,
        count(*) FILTER (WHERE http_response_status_code BETWEEN 400 AND 499) AS client_errors,
        count(*) FILTER (WHERE http_response_status_code BETWEEN 500 AND 599) AS server_errors
    FROM requests
    WHERE event_day >= ($until - $baseline)::DATE AND event_day <= $until::DATE
        AND event_time > $until - $baseline AND event_time <= $until
    GROUP BY begins
), shares AS (
    SELECT begins, requests_made, begins > $until - $window - $bucket AS recent, unnest(['4xx', '5xx']) AS class,
        unnest([client_errors, server_errors]) AS errors
    FROM counted
), usual AS (
    SELECT class, avg(errors / requests_made) AS mean_share, coalesce(stddev_samp(errors / requests_made), 0) AS deviation
    FROM shares
    WHERE NOT recent
    GROUP BY class
    HAVING count(*) >= $stretches
)
SELECT begins, shares.class, errors, requests_made, round(errors / requests_made, 4) AS share, round(mean_share, 4) AS usual_share,
    round((errors / requests_made - mean_share) / greatest(deviation, $noise), 1) AS deviations
FROM shares JOIN usual ON usual.class = shares.class
WHERE recent AND errors >= $least AND errors / requests_made > mean_share + $deviations * greatest(deviation, $noise)
ORDER BY begins, shares.class
