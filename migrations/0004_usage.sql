-- Processes of an older version may go on: what they verify is not counted, and limits are not obeyed by them.
CREATE TABLE "key_last_used" (
	"key_id" text NOT NULL,
	"version" integer NOT NULL,
	"time" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "key_last_used_key_id_version_pk" PRIMARY KEY("key_id","version")
);
--> statement-breakpoint
CREATE TABLE "usage_batch" (
	"epoch" text NOT NULL,
	"seq" bigint NOT NULL,
	"size" integer NOT NULL,
	"deltas" jsonb NOT NULL,
	"time" timestamp (3) with time zone DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT "usage_batch_epoch_seq_pk" PRIMARY KEY("epoch","seq")
);
--> statement-breakpoint
CREATE TABLE "usage_hour" (
	"time" timestamp (3) with time zone NOT NULL,
	"key_id" text NOT NULL,
	"caller_id" text NOT NULL,
	"version" integer NOT NULL,
	"verdict" text NOT NULL,
	"method" text NOT NULL,
	"count" bigint NOT NULL,
	"cost" bigint NOT NULL,
	CONSTRAINT "usage_hour_key_id_time_caller_id_version_verdict_method_pk" PRIMARY KEY("key_id","time","caller_id","version","verdict","method")
) PARTITION BY RANGE ("time");
--> statement-breakpoint
CREATE TABLE "usage_minute" (
	"time" timestamp (3) with time zone NOT NULL,
	"key_id" text NOT NULL,
	"caller_id" text NOT NULL,
	"version" integer NOT NULL,
	"verdict" text NOT NULL,
	"method" text NOT NULL,
	"count" bigint NOT NULL,
	"cost" bigint NOT NULL,
	CONSTRAINT "usage_minute_key_id_time_caller_id_version_verdict_method_pk" PRIMARY KEY("key_id","time","caller_id","version","verdict","method")
) PARTITION BY RANGE ("time");
--> statement-breakpoint
CREATE TABLE "usage_rejected" (
	"epoch" text NOT NULL,
	"seq" bigint NOT NULL,
	"deltas" jsonb NOT NULL,
	"code" text NOT NULL,
	"time" timestamp (3) with time zone DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT "usage_rejected_epoch_seq_pk" PRIMARY KEY("epoch","seq")
);
--> statement-breakpoint
CREATE TABLE "usage_source" (
	"epoch" text PRIMARY KEY NOT NULL,
	"last_seq" bigint NOT NULL
);
--> statement-breakpoint
ALTER TABLE "api_key" ADD COLUMN "limits" jsonb;--> statement-breakpoint
CREATE INDEX "usage_batch_time" ON "usage_batch" USING btree ("time");--> statement-breakpoint
CREATE TABLE "usage_minute_default" PARTITION OF "usage_minute" DEFAULT;--> statement-breakpoint
CREATE TABLE "usage_hour_default" PARTITION OF "usage_hour" DEFAULT;--> statement-breakpoint
-- Makes the partitions of now and next, minutes by day and hours by month (UTC). What came before its partition was there
-- waits in the default one, and is moved. Parents are locked first, in the order in which everybody uses them: else a
-- query that holds the parent and waits for the default partition would deadlock with it, and one that was planned
-- before would miss what is moved.
CREATE FUNCTION "claviger_make_usage_partitions"() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '1s' AS $$
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
      CONTINUE WHEN to_regclass(part) IS NOT NULL;
      EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', parent);
      CONTINUE WHEN to_regclass(part) IS NOT NULL;
      EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', part, parent);
      EXECUTE format('WITH moved AS (DELETE FROM %I WHERE "time" >= %L AND "time" < %L RETURNING *) INSERT INTO %I SELECT * FROM moved',
        parent || '_default', first, next, part);
      EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, part, first, next);
    END LOOP;
  END LOOP;
END $$;--> statement-breakpoint
-- Drops the partitions that are older than is kept, and what is that old in the default ones.
CREATE FUNCTION "claviger_drop_usage_partitions"(minutes_kept interval, hours_kept interval) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
  parent text;
  width text;
  kept interval;
  part text;
BEGIN
  FOR parent, width, kept IN VALUES ('usage_minute', 'day', minutes_kept), ('usage_hour', 'month', hours_kept) LOOP
    FOR part IN
      SELECT child.relname FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid
      WHERE inhparent = parent::regclass AND child.relname <> parent || '_default'
    LOOP
      IF to_timestamp(right(part, 8), 'YYYYMMDD')::timestamp AT TIME ZONE 'UTC' + ('1 ' || width)::interval < now() - kept THEN
        EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', parent);
        EXECUTE format('DROP TABLE IF EXISTS %I', part);
      END IF;
    END LOOP;
    EXECUTE format('DELETE FROM %I WHERE "time" < %L', parent || '_default', now() - kept);
  END LOOP;
END $$;--> statement-breakpoint
REVOKE EXECUTE ON FUNCTION "claviger_make_usage_partitions" FROM PUBLIC;--> statement-breakpoint
REVOKE EXECUTE ON FUNCTION "claviger_drop_usage_partitions" FROM PUBLIC;
