-- impossible_travel
-- Users whose requests came from two places too far apart for the time between them.
--
-- Compares each located request of a user with the one before it, and gives the great-circle distance (haversine formula, Earth's
-- mean radius 6,371 km) over the time between them. Locations of addresses are rough: $distance leaves out what may be an error of
-- the database. VPNs and mobile networks are the usual harmless causes. from_ and to_ are the two requests.
--
-- $window interval = 24 hours: how far back to look
-- $until timestamp = now: look back from this time
-- $speed number = 900: kilometres per hour that nobody exceeds
-- $distance number = 500: kilometres between the places, at least
WITH located AS (
    SELECT coalesce(user_name, account_id) AS who, event_time, ingest_batch, ingest_row, source_address,
        source_geo_country_iso_code AS country, source_geo_location_lat AS lat, source_geo_location_lon AS lon
    FROM requests
    WHERE event_day >= ($until - $window)::DATE AND event_day <= $until::DATE
        AND event_time > $until - $window AND event_time <= $until
        AND coalesce(user_name, account_id) IS NOT NULL
        AND source_geo_location_lat IS NOT NULL AND source_geo_location_lon IS NOT NULL
), steps AS (
    SELECT who, event_time AS to_time, source_address AS to_address, country AS to_country, lat, lon,
        lag(event_time) OVER each_user AS from_time, lag(source_address) OVER each_user AS from_address,
        lag(country) OVER each_user AS from_country, lag(lat) OVER each_user AS from_lat, lag(lon) OVER each_user AS from_lon
    FROM located
    WINDOW each_user AS (PARTITION BY who ORDER BY event_time, ingest_batch, ingest_row)
), far AS (
    SELECT who, from_time, from_address, from_country, to_time, to_address, to_country,
        2 * 6371 * asin(sqrt(least(1, pow(sin(radians(lat - from_lat) / 2), 2)
            + cos(radians(from_lat)) * cos(radians(lat)) * pow(sin(radians(lon - from_lon) / 2), 2)))) AS km,
        greatest(epoch(to_time) - epoch(from_time), 1) / 3600 AS hours
    FROM steps
    WHERE from_time IS NOT NULL AND (lat <> from_lat OR lon <> from_lon)
)
SELECT who, round(km) AS km, round(hours, 2) AS hours, round(km / hours) AS km_per_hour,
    from_time, from_address, from_country, to_time, to_address, to_country
FROM far
WHERE km >= $distance AND km / hours > $speed
ORDER BY km_per_hour DESC, who, to_time
