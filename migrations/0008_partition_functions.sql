-- Processes of an older version may go on: the functions do what they did. They run with the rights of the owner of the
-- schema, and so call nothing from schema public: where others may create functions there, as everybody may in a database
-- that was made with Postgres 14, a `format(text, text)` of theirs would be preferred to that of Postgres.
CREATE OR REPLACE FUNCTION "claviger_make_usage_partitions"() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
  parent text;
  width text;
  first timestamptz;
  next timestamptz;
  part text;
BEGIN
  FOR parent, width IN VALUES ('usage_minute', 'day'), ('usage_hour', 'month') LOOP
    FOR step IN 0..1 LOOP
      first := (date_trunc(width, now() AT TIME ZONE 'UTC') + step * ('1 ' || width)::interval) AT TIME ZONE 'UTC';
      next := (date_trunc(width, now() AT TIME ZONE 'UTC') + (step + 1) * ('1 ' || width)::interval) AT TIME ZONE 'UTC';
      part := parent || '_' || to_char(first AT TIME ZONE 'UTC', 'YYYYMMDD');
      CONTINUE WHEN to_regclass('public.' || part) IS NOT NULL;
      EXECUTE format('LOCK TABLE public.%I IN ACCESS EXCLUSIVE MODE', parent);
      CONTINUE WHEN to_regclass('public.' || part) IS NOT NULL;
      EXECUTE format('CREATE TABLE public.%I (LIKE public.%I INCLUDING ALL)', part, parent);
      EXECUTE format('WITH moved AS (DELETE FROM public.%I WHERE "time" >= %L AND "time" < %L RETURNING *) INSERT INTO public.%I SELECT * FROM moved',
        parent || '_default', first, next, part);
      EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)', parent, part, first, next);
    END LOOP;
  END LOOP;
END $$;--> statement-breakpoint
CREATE OR REPLACE FUNCTION "claviger_drop_usage_partitions"(minutes_kept interval, hours_kept interval) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
  parent text;
  width text;
  kept interval;
  part text;
BEGIN
  FOR parent, width, kept IN VALUES ('usage_minute', 'day', minutes_kept), ('usage_hour', 'month', hours_kept) LOOP
    FOR part IN
      SELECT child.relname FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid
      WHERE inhparent = ('public.' || parent)::regclass AND child.relname <> parent || '_default'
    LOOP
      IF to_timestamp(right(part, 8), 'YYYYMMDD')::timestamp AT TIME ZONE 'UTC' + ('1 ' || width)::interval < now() - kept THEN
        EXECUTE format('LOCK TABLE public.%I IN ACCESS EXCLUSIVE MODE', parent);
        EXECUTE format('DROP TABLE IF EXISTS public.%I', part);
      END IF;
    END LOOP;
    EXECUTE format('DELETE FROM public.%I WHERE "time" < %L', parent || '_default', now() - kept);
  END LOOP;
END $$;
