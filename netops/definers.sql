-- The only ways past row-level security: functions of `owner` with a pinned search_path. Applied after every migrate.
-- Each gives what its comment says and nothing else; tests/netops/test_definers.py holds the list.

-- Which keys have work waiting (the sweep); ids only.
CREATE OR REPLACE FUNCTION netops_due_keys() RETURNS TABLE (drain text, team_id bigint, key_id bigint)
LANGUAGE sql SECURITY DEFINER STABLE SET search_path = public, pg_temp AS $$
    SELECT DISTINCT 'topology', u.team_id, u.source_id FROM inventory_topologyupdate u
    UNION ALL
    SELECT DISTINCT 'reports', r.team_id, r.agent_id FROM probing_reportbatch r
    UNION ALL
    SELECT DISTINCT 'tickets', o.team_id, o.ticket_id FROM ticketing_ticketoperation o
    WHERE o.state = 'pending' AND o.not_before <= clock_timestamp()
    UNION ALL
    SELECT 'imports', i.team_id, i.id FROM inventory_inventoryimport i WHERE i.state IN ('checking', 'committing')
    UNION ALL
    SELECT 'plans', c.team_id, c.id FROM probing_campaign c JOIN inventory_topology t ON t.team_id = c.team_id
    WHERE c.planned_version IS DISTINCT FROM t.version AND (c.enabled OR c.planned_version IS NULL)
$$;

-- The teams of one user, with the role in each.
CREATE OR REPLACE FUNCTION netops_user_teams(wanted bigint)
RETURNS TABLE (team_id bigint, slug varchar, name varchar, role varchar)
LANGUAGE sql SECURITY DEFINER STABLE SET search_path = public, pg_temp AS $$
    SELECT t.id, t.slug, t.name, m.role FROM tenancy_membership m JOIN tenancy_team t ON t.id = m.team_id
    WHERE m.user_id = wanted ORDER BY t.name
$$;

-- One API token that has not expired, for whoever has its key and the digest of its secret. Its role is never above
-- the one its maker has now; a maker who has left the team takes the token along.
DROP FUNCTION IF EXISTS netops_token(varchar, varchar);
CREATE FUNCTION netops_token(wanted varchar, proof varchar)
RETURNS TABLE (team_id bigint, slug varchar, name varchar, role varchar, user_id bigint, token_id bigint,
               token_name varchar, networks jsonb)
LANGUAGE sql SECURITY DEFINER STABLE SET search_path = public, pg_temp AS $$
    SELECT t.id, t.slug, t.name,
           CASE WHEN m.role IS NULL OR array_position(r.roles, k.role) < array_position(r.roles, m.role)
                THEN k.role ELSE m.role END,
           k.user_id, k.id, k.name, k.networks
    FROM tenancy_apitoken k
    JOIN tenancy_team t ON t.id = k.team_id
    LEFT JOIN tenancy_user u ON u.id = k.user_id AND u.is_active
    LEFT JOIN tenancy_membership m ON m.team_id = k.team_id AND m.user_id = u.id
    CROSS JOIN (SELECT ARRAY['viewer', 'operator', 'admin', 'owner']::varchar[] AS roles) r
    WHERE k.key = wanted AND k.digest = proof AND (k.expires IS NULL OR k.expires > clock_timestamp())
      AND (k.user_id IS NULL OR m.role IS NOT NULL)
$$;

-- The team and id of the open invitation whose secret has one digest.
CREATE OR REPLACE FUNCTION netops_invitation(proof varchar) RETURNS TABLE (team_id bigint, invitation_id bigint)
LANGUAGE sql SECURITY DEFINER STABLE SET search_path = public, pg_temp AS $$
    SELECT i.team_id, i.id FROM tenancy_invitation i WHERE i.digest = proof AND i.expires > clock_timestamp()
$$;

-- The team and id of the enrolled agent with one public key, which link or report has proved by a signature.
CREATE OR REPLACE FUNCTION netops_agent_by_key(wanted varchar) RETURNS TABLE (team_id bigint, agent_id bigint)
LANGUAGE sql SECURITY DEFINER STABLE SET search_path = public, pg_temp AS $$
    SELECT a.team_id, a.id FROM agents_agent a
    WHERE a.public_key = wanted AND a.public_key <> '' AND a.state = 'enrolled'
$$;

-- The team and id of the enrolment token whose secret has one digest; spent ones too, until they expire: an agent that
-- did not hear the answer asks again.
CREATE OR REPLACE FUNCTION netops_enrolment_token(proof varchar) RETURNS TABLE (team_id bigint, token_id bigint)
LANGUAGE sql SECURITY DEFINER STABLE SET search_path = public, pg_temp AS $$
    SELECT t.team_id, t.id FROM agents_enrolmenttoken t WHERE t.digest = proof AND t.expires > clock_timestamp()
$$;

-- The team and id of the token of PiCon agents whose secret has one digest.
CREATE OR REPLACE FUNCTION netops_legacy_token(proof varchar) RETURNS TABLE (team_id bigint, token_id bigint)
LANGUAGE sql SECURITY DEFINER STABLE SET search_path = public, pg_temp AS $$
    SELECT t.team_id, t.id FROM agents_legacytoken t WHERE t.digest = proof
$$;

-- The lowest port of the server that leads to no agent's SSH yet; below those that the kernel gives by itself.
CREATE OR REPLACE FUNCTION netops_tunnel_port() RETURNS integer
LANGUAGE sql SECURITY DEFINER STABLE SET search_path = public, pg_temp AS $$
    SELECT min(free.port) FROM generate_series(2220, 32767) AS free (port)
    WHERE NOT EXISTS (SELECT FROM agents_agent a WHERE a.tunnel_port = free.port)
$$;

-- How much there is of everything over all teams, for whoever runs the installation (netops/exposition.py): sums only,
-- by state, never by team.
CREATE OR REPLACE FUNCTION netops_totals() RETURNS TABLE (family text, label text, value double precision)
LANGUAGE sql SECURITY DEFINER STABLE SET search_path = public, pg_temp AS $$
    SELECT 'teams', '', count(*) FROM tenancy_team
    UNION ALL
    SELECT 'devices', CASE WHEN source_id IS NULL THEN 'written_down' WHEN up THEN 'up' ELSE 'down' END, count(*)
    FROM inventory_device GROUP BY 2
    UNION ALL
    SELECT 'links', state, count(*) FROM inventory_link GROUP BY 2
    UNION ALL
    SELECT 'sources', state, count(*) FROM inventory_topologysource WHERE enabled GROUP BY 2
    UNION ALL
    -- As agents/models.py:AgentQuerySet.with_status; tests/agents/test_watch.py holds the two together.
    SELECT 'agents', CASE
            WHEN state IN ('waiting', 'revoked') THEN state
            WHEN last_seen IS NULL THEN 'new'
            WHEN online AND last_seen > clock_timestamp() - interval '30 s' THEN 'online'
            WHEN reported + interval_s * interval '2 s' > clock_timestamp() THEN 'online'
            WHEN last_seen + holdtime_s * interval '1 s' > clock_timestamp() THEN 'late'
            ELSE 'dead' END, count(*)
    FROM agents_agent GROUP BY 2
    UNION ALL
    SELECT 'campaigns', CASE WHEN enabled THEN 'enabled' ELSE 'disabled' END, count(*) FROM probing_campaign GROUP BY 2
    UNION ALL
    SELECT 'paths', state, count(*) FROM probing_path WHERE active GROUP BY 2
    UNION ALL
    SELECT 'incidents_open', severity, count(*) FROM ticketing_incident WHERE state = 'open' GROUP BY 2
    UNION ALL
    SELECT 'ticket_operations', state, count(*) FROM ticketing_ticketoperation WHERE state <> 'done' GROUP BY 2
    UNION ALL
    SELECT 'due_keys', drain, count(*) FROM netops_due_keys() GROUP BY 2
    UNION ALL
    SELECT 'inbox_rows', 'topology', count(*) FROM inventory_topologyupdate
    UNION ALL
    SELECT 'inbox_rows', 'reports', count(*) FROM probing_reportbatch
    UNION ALL
    SELECT 'inbox_rows', 'tickets', count(*) FROM ticketing_ticketoperation WHERE state = 'pending'
    UNION ALL
    SELECT 'inbox_oldest', inbox, greatest(0, extract(epoch FROM clock_timestamp() - oldest)) FROM (
        SELECT 'topology', min(created) FROM inventory_topologyupdate
        UNION ALL
        SELECT 'reports', min(received) FROM probing_reportbatch
        UNION ALL
        SELECT 'tickets', min(created) FROM ticketing_ticketoperation WHERE state = 'pending'
    ) AS waiting (inbox, oldest) WHERE oldest IS NOT NULL
$$;

-- Ids of the rows of the team in scope whose haystack contains a text or whose address begins with it; NULL where more
-- than `most` (10,000) do, or one in 40 of the first 2,000, of which a page is found sooner by looking at each. None
-- without a team, and the team is never an argument. The first LIKE is for the trigrams (core/search.py), the second says
-- what really matches.
DROP FUNCTION IF EXISTS netops_search(text, text, bigint);
CREATE FUNCTION netops_search(kind text, wanted text, most bigint) RETURNS bigint[]
LANGUAGE plpgsql SECURITY DEFINER STABLE SET search_path = public, pg_temp AS $$
DECLARE
    signs CONSTANT text := ' -./:_';
    letters CONSTANT text := 'UVWXYZ';
    team CONSTANT bigint := NULLIF(current_setting('netops.team', true), '')::bigint;
    capitals CONSTANT text := replace(replace(upper(wanted), '\', '\\'), '%', '\%');
    contained CONSTANT text := '%' || replace(capitals, '_', '\_') || '%';
    begun CONSTANT text := CASE WHEN wanted ~* '^[0-9a-f.:]+$' THEN lower(wanted) || '%' END;
    address CONSTANT text := CASE kind WHEN 'device' THEN 'router_id' WHEN 'interface' THEN 'address' END;
    early CONSTANT text := 'SELECT count(*) >= 50 FROM (SELECT * FROM %I WHERE team_id = $1 ORDER BY id LIMIT 2000) early';
    found bigint[];
    addressed bigint[];
    dense boolean;
BEGIN
    IF kind IS NULL OR kind NOT IN ('device', 'interface', 'link') THEN
        RAISE EXCEPTION 'Only device, interface and link can be searched.';
    END IF;
    EXECUTE format(early || ' WHERE haystack LIKE $2', 'inventory_' || kind) INTO dense USING team, contained;
    IF NOT dense AND begun IS NOT NULL AND address IS NOT NULL THEN
        EXECUTE format(early || ' WHERE host(%I) LIKE $2', 'inventory_' || kind, address) INTO dense USING team, begun;
    END IF;
    IF dense THEN
        RETURN NULL;
    END IF;
    IF begun IS NOT NULL AND address IS NOT NULL THEN
        EXECUTE format('SELECT array_agg(id) FROM (SELECT id FROM %I WHERE team_id = $1 AND host(%I) LIKE $2 LIMIT $3) few',
            'inventory_' || kind, address)
        INTO addressed USING team, begun, least(most, 10000) + 1;
    END IF;
    EXECUTE format(
        'SELECT array_agg(id) FROM (SELECT id FROM %I WHERE team_id = $1 AND translate(haystack, %L, %L) LIKE $2'
        ' AND haystack LIKE $3 LIMIT $4) few', 'inventory_' || kind, signs, letters)
    INTO found USING team, '%' || translate(capitals, signs, letters) || '%', contained, least(most, 10000) + 1;
    found := coalesce(addressed, '{}') || coalesce(found, '{}');
    RETURN CASE WHEN cardinality(found) <= least(most, 10000) THEN found END;
END
$$;

-- Ids of the newest lines of consoles that contain a text, of the team in scope, which is never an argument: at most 500,
-- newest first; of these ports, in this time, older than the line of one id where they are given. The first ILIKE is for
-- the trigrams (consoles/log_models.py), the second says what really matches.
DROP FUNCTION IF EXISTS netops_console_search(text, bigint[], timestamptz, timestamptz, bigint, bigint);
CREATE FUNCTION netops_console_search(
    wanted text, ports bigint[], since timestamptz, until timestamptz, before bigint, most bigint
) RETURNS bigint[]
LANGUAGE plpgsql SECURITY DEFINER STABLE SET search_path = public, pg_temp AS $$
DECLARE
    signs CONSTANT text := ' -./:_';
    letters CONSTANT text := 'UVWXYZ';
    team CONSTANT bigint := NULLIF(current_setting('netops.team', true), '')::bigint;
    escaped CONSTANT text := replace(replace(wanted, '\', '\\'), '%', '\%');
    found bigint[];
BEGIN
    EXECUTE format(
        'SELECT array_agg(id) FROM (SELECT l.id FROM consoles_consoleline l WHERE l.team_id = $1'
        ' AND ($4 IS NULL OR l.port_id = ANY ($4)) AND ($5 IS NULL OR l.at >= $5) AND ($6 IS NULL OR l.at <= $6)'
        ' AND ($7 IS NULL OR (l.at, l.id) < (SELECT b.at, b.id FROM consoles_consoleline b WHERE b.team_id = $1 AND b.id = $7))'
        ' AND ($2 = %L OR (translate(l.text, %L, %L) ILIKE $2 AND l.text ILIKE $3))'
        ' ORDER BY l.at DESC, l.id DESC LIMIT $8) few', '%%', signs, letters)
    INTO found
    USING team, '%' || translate(escaped, signs, letters) || '%', '%' || replace(escaped, '_', '\_') || '%', ports, since,
        until, before, greatest(0, least(most, 500));
    RETURN found;
END
$$;

-- The partition of probing_pathminute for one day. `app` has no grant on partitions.
CREATE OR REPLACE FUNCTION netops_partition_ensure(day date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    EXECUTE format(
        'CREATE TABLE IF NOT EXISTS %I PARTITION OF probing_pathminute FOR VALUES FROM (%L) TO (%L)',
        'probing_pathminute_' || to_char(day, 'YYYYMMDD'),
        day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC');
END
$$;

-- Drop the daily partitions of probing_pathminute that ended before `day`; never those of a week ago or younger.
CREATE OR REPLACE FUNCTION netops_partition_drop(day date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    part text;
    dropped integer := 0;
BEGIN
    IF day IS NULL OR day > current_date - 7 THEN
        RAISE EXCEPTION 'The history of the last seven days is kept: name an earlier day.';
    END IF;
    FOR part IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'probing_pathminute'::regclass AND c.relname < 'probing_pathminute_' || to_char(day, 'YYYYMMDD')
    LOOP
        EXECUTE format('DROP TABLE %I', part);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END
$$;

DO $$
DECLARE
    f regprocedure;
BEGIN
    FOR f IN SELECT p.oid::regprocedure FROM pg_proc p WHERE p.proname LIKE 'netops\_%' AND p.prosecdef LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO {app}', f);
    END LOOP;
END
$$;
