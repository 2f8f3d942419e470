/*
 * report.c - `throttles` and `throttle` of the control socket, for the commands of the same
 * names.
 *
 * throttles: a walk over all groups (walk.c).  After each slice the groups that the filters
 * take are rows of plain values; they go to the main loop, which writes them as one part of
 * the answer and sends the walk on: at most a slice of rows is ever held, and a client that
 * reads slowly slows the walk down and nothing else.
 * Arguments, all optional: key (fnmatch(3), or "t17"), virtual_mta (a name or a number),
 * in_backoff (true: only such).
 *
 * throttle: one group, asked on its loop.  Arguments: key (or "t17"), do ("begin_backoff", with
 * for_ms, 0 or none: as long as the settings say; "end_backoff"; default: nothing).  It is
 * looked for by a walk: a table by number would cost each group more than this command.
 */
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "throttle.h"

#include <greenarrow/json.h>
#include <greenarrow/mail.h>
#include <greenarrow/service/control.h>

#define PAUSE_MS 20
#define KEY_ROOM 300		/* a domain, a number and a comma are less */

struct row {
	struct row *next;
	struct ga_str key, virtual_mta, domains;
	uint32_t number, mta_id;
	unsigned max, connections, saved, in_flight, ram, bounce, disk;
	double recent, rate;
	struct thr_limits written;
	struct thr_written texts;
	char deliveries[THR_RATE_TEXT];	/* in force */
	bool in_backoff;		/* or in recovery */
	const char *state;		/* of thr_state() */
	struct ga_str reason;
	uint64_t began_ms, ends_ms;	/* of the backoff; wall clock */
};

struct request {
	struct thr_walk walk;
	struct ga_control_call *call;
	struct ga_timer *pause;		/* the client reads slowly */
	char key[KEY_ROOM], virtual_mta[KEY_ROOM];	/* filters; "": all */
	bool in_backoff;		/* only those */
	struct ga_pool *pool;		/* of the rows */
	struct row *rows, **rows_end;
	uint64_t groups, backoffs, connections, in_flight, ram, bounce, disk;	/* of those taken */
};

/* A question about one group. */
struct question {
	struct thr_walk walk;
	struct ga_control_call *call;
	char key[KEY_ROOM];		/* or "t17" */
	void (*act)(struct ga_group *, const struct question *);	/* NULL: only show it */
	uint64_t for_ms;
	struct ga_pool *pool;
	struct row *row;		/* NULL: there is no such group */
};

/* --- on the loop of the group --- */

/* Of a rule its patterns, of a group of one domain that. */
static struct ga_str
domains_of(const struct ga_group *g)
{
	const char *comma = strchr(g->key, ',');

	if (*g->terms->domains != '\0')
		return ga_str_c(g->terms->domains);
	return ga_str_c(comma != NULL ? comma + 1 : "*");
}

static void
rate_in_force(char to[THR_RATE_TEXT], const struct ga_group *g)
{
	if (thr_rate_is(&g->deliveries, g->terms->written.rate))
		snprintf(to, THR_RATE_TEXT, "%s", g->terms->texts.deliveries);
	else
		thr_rate_text(&g->deliveries, to);
}

/* Wall clock; 0: none. */
static uint64_t
wall_ms(uint64_t mono_us)
{
	return mono_us == 0 ? 0 : ga_wall_ms() + mono_us / 1000 - ga_mono_us() / 1000;
}

static struct row *
new_row(struct ga_pool *pool, const struct ga_group *g)
{
	struct row *r = ga_alloc(pool, sizeof *r);

	r->next = NULL;
	r->key = ga_dup(pool, ga_str_c(g->key));
	r->virtual_mta = ga_dup(pool, ga_str_c(thr_group_virtual_mta(g)));
	r->domains = ga_dup(pool, domains_of(g));
	r->number = g->number;
	r->mta_id = g->mta_id;
	r->max = g->max;
	r->connections = g->connections;
	r->saved = thr_saved(g);
	r->in_flight = g->in_flight;
	r->bounce = g->bounces;
	r->ram = g->firsts;
	r->disk = g->waiting - g->bounces - g->firsts;
	r->recent = thr_recent_rate(&g->recent, ga_mono_us());
	r->written = g->terms->written;
	r->texts = g->terms->texts;
	rate_in_force(r->deliveries, g);
	r->in_backoff = thr_in_backoff(g);
	r->state = thr_state(g);
	r->rate = r->in_backoff ? thr_rate_per_second(&g->deliveries) : 0;
	r->reason = ga_dup(pool, ga_str_c(r->in_backoff ? thr_backoff_reason(g) : ""));
	r->began_ms = wall_ms(thr_backoff_began(g));
	r->ends_ms = wall_ms(thr_backoff_until(g));
	return r;
}

/* No key begins with a t and a digit. */
static bool
has_number(const struct ga_group *g, const char *name)
{
	char number[16];

	snprintf(number, sizeof number, "t%" PRIu32, g->number);
	return strcmp(name, number) == 0;
}

static bool
taken(const struct request *q, const struct ga_group *g)
{
	char mta[16];

	snprintf(mta, sizeof mta, "%" PRIu32, g->mta_id);
	return (!q->in_backoff || thr_in_backoff(g)) &&
	    (q->key[0] == '\0' || has_number(g, q->key) || fnmatch(q->key, g->key, 0) == 0) &&
	    (q->virtual_mta[0] == '\0' || strcmp(q->virtual_mta, mta) == 0 ||
	    strcasecmp(q->virtual_mta, thr_group_virtual_mta(g)) == 0);
}

static void
visit(struct thr_walk *walk, struct ga_group *g)
{
	struct request *q = GA_CONTAINER(walk, struct request, walk);
	struct row *r;

	if (!taken(q, g))
		return;
	r = new_row(q->pool, g);
	*q->rows_end = r;
	q->rows_end = &r->next;
	q->groups++;
	q->backoffs += r->in_backoff;
	q->connections += r->connections;
	q->in_flight += r->in_flight;
	q->ram += r->ram;
	q->bounce += r->bounce;
	q->disk += r->disk;
}

static void write_part(struct ga_worker *, struct ga_post *);

static bool
slice(struct thr_walk *walk)
{
	struct request *q = GA_CONTAINER(walk, struct request, walk);

	if (q->rows == NULL)
		return false;
	walk->post.fn = write_part;
	ga_loop_post(walk->asker, &walk->post);
	return true;
}

/* --- JSON --- */

static struct json_object *
domains_json(struct ga_str s)
{
	struct json_object *list = json_object_new_array();

	while (s.n > 0) {
		const char *comma = memchr(s.p, ',', s.n);
		size_t n = comma != NULL ? (size_t)(comma - s.p) : s.n;

		json_object_array_add(list, json_object_new_string_len(s.p, (int)n));
		n += comma != NULL ? 2 : 0;	/* ", " */
		s.p += n;
		s.n -= n;
	}
	return list;
}

/* As written, and what holds now. */
static void
put_limits(struct json_object *o, const struct row *r)
{
	ga_json_put_int(o, "max_concurrent_connections", r->written.connections);
	ga_json_put_str(o, "max_delivery_rate", ga_str_c(r->texts.deliveries));
	ga_json_put_str(o, "max_connection_rate", ga_str_c(r->texts.dials));
	ga_json_put_int(o, "max_concurrent_connections_in_force", r->max);
	ga_json_put_str(o, "max_delivery_rate_in_force", ga_str_c(r->deliveries));
	ga_json_put_str(o, "max_connection_rate_in_force", ga_str_c(r->texts.dials));
}

/* An hour's number; there is none where there is no limit: 0. */
static void
put_hourly(struct json_object *o, const char *key, double per_second)
{
	ga_json_put_int(o, key, (uint64_t)(per_second * 3600 + 0.5));
}

static void
put_time(struct json_object *o, const char *key, uint64_t wall)
{
	char date[GA_DATE_ROOM];

	ga_json_put_str(o, key, ga_str_c(ga_date_rfc3339(wall, date)));
}

/* Limits of the backoff are known while it lasts. */
static void
put_backoff(struct json_object *o, const struct row *r)
{
	ga_json_put_bool(o, "in_backoff", r->in_backoff);
	ga_json_put_str(o, "state", ga_str_c(r->state));
	ga_json_put_int(o, "normal_max_concurrent_connections", r->written.connections);
	put_hourly(o, "normal_max_messages_per_hour", r->written.rate);
	if (!r->in_backoff)
		return;
	ga_json_put_str(o, "backoff_reason", r->reason);
	put_time(o, "backoff_began_at", r->began_ms);
	put_time(o, "backoff_ends_at", r->ends_ms);
	ga_json_put_int(o, "backoff_max_concurrent_connections", r->max);
	put_hourly(o, "backoff_max_messages_per_hour", r->rate);
}

static struct json_object *
row_json(const struct row *r)
{
	struct json_object *o = json_object_new_object();
	char text[32];

	ga_json_put_str(o, "key", r->key);
	snprintf(text, sizeof text, "t%" PRIu32, r->number);
	ga_json_put_str(o, "id", ga_str_c(text));
	ga_json_put_str(o, "virtual_mta", r->virtual_mta);
	snprintf(text, sizeof text, "%" PRIu32, r->mta_id);
	ga_json_put_str(o, "outmtaid", ga_str_c(text));
	json_object_object_add(o, "domains", domains_json(r->domains));
	put_limits(o, r);
	ga_json_put_int(o, "connections", r->connections);
	ga_json_put_int(o, "saved_connections", r->saved);
	snprintf(text, sizeof text, "%.2f", r->recent);
	json_object_object_add(o, "deliveries_per_second", json_object_new_double_s(r->recent, text));
	ga_json_put_int(o, "queued_ram", r->ram);
	ga_json_put_int(o, "queued_bounce", r->bounce);
	ga_json_put_int(o, "queued_disk", r->disk);
	ga_json_put_int(o, "in_flight", r->in_flight);
	put_backoff(o, r);
	return o;
}

/* --- throttles: on the main loop --- */

static void
no_rows(struct request *q)
{
	ga_pool_reset(q->pool);
	q->rows = NULL;
	q->rows_end = &q->rows;
}

static void
pause_over(struct ga_inst *inst, struct ga_worker *w, void *arg)
{
	struct request *q = arg;

	(void)inst;
	(void)w;
	q->walk.enough = ga_control_gone(q->call);
	thr_walk_on(&q->walk);
}

static void
write_part(struct ga_worker *w, struct ga_post *post)
{
	struct request *q = GA_CONTAINER(post, struct request, walk.post);
	struct json_object *part = json_object_new_object(), *list = json_object_new_array();

	for (const struct row *r = q->rows; r != NULL; r = r->next)
		json_object_array_add(list, row_json(r));
	no_rows(q);
	json_object_object_add(part, "throttles", list);
	if (ga_control_part(q->call, part)) {
		thr_walk_on(&q->walk);
		return;
	}
	if (q->pause == NULL)
		q->pause = ga_timer_new(thr_inst, w, pause_over, q);
	ga_timer_arm(q->pause, PAUSE_MS, 0);
}

static void
request_free(struct request *q)
{
	ga_timer_free(q->pause);
	ga_pool_free(q->pool);
	free(q);
}

static void
request_end(struct ga_worker *w, struct thr_walk *walk)
{
	struct request *q = GA_CONTAINER(walk, struct request, walk);
	struct json_object *o = json_object_new_object();

	(void)w;
	ga_json_put_int(o, "groups", q->groups);
	ga_json_put_int(o, "in_backoff", q->backoffs);
	ga_json_put_int(o, "connections", q->connections);
	ga_json_put_int(o, "queued_ram", q->ram);
	ga_json_put_int(o, "queued_bounce", q->bounce);
	ga_json_put_int(o, "queued_disk", q->disk);
	ga_json_put_int(o, "in_flight", q->in_flight);
	ga_control_reply(q->call, o);
	request_free(q);
}

static void
request_drop(struct thr_walk *walk)
{
	struct request *q = GA_CONTAINER(walk, struct request, walk);

	ga_control_error(q->call, "stopping", "greenarrowd stops");
	request_free(q);
}

static void
copy_text(struct json_object *args, const char *key, char to[KEY_ROOM])
{
	struct json_object *m;

	if (json_object_object_get_ex(args, key, &m))
		snprintf(to, KEY_ROOM, "%s", json_object_get_string(m));
}

static void
ask_throttles(struct ga_control_call *call, struct json_object *args, void *arg)
{
	struct request *q = ga_xcalloc(1, sizeof *q);
	struct json_object *m;

	(void)arg;
	q->call = call;
	q->pool = ga_pool_new(0);
	no_rows(q);
	copy_text(args, "key", q->key);
	copy_text(args, "virtual_mta", q->virtual_mta);
	q->in_backoff = json_object_object_get_ex(args, "in_backoff", &m) && json_object_get_boolean(m);
	q->walk.asker = ga_worker_main();
	q->walk.visit = visit;
	q->walk.slice = slice;
	q->walk.end = request_end;
	q->walk.drop = request_drop;
	thr_walk_begin(&q->walk);
}

/* --- throttle --- */

static void
question_free(struct question *q)
{
	ga_pool_free(q->pool);
	free(q);
}

static void
question_end(struct ga_worker *w, struct thr_walk *walk)
{
	struct question *q = GA_CONTAINER(walk, struct question, walk);
	struct json_object *o;

	(void)w;
	if (q->row == NULL) {
		ga_control_error(q->call, "not_found", "there is no throttle group %s", q->key);
	} else {
		o = json_object_new_object();
		json_object_object_add(o, "throttle", row_json(q->row));
		ga_control_reply(q->call, o);
	}
	question_free(q);
}

static void
question_drop(struct thr_walk *walk)
{
	struct question *q = GA_CONTAINER(walk, struct question, walk);

	ga_control_error(q->call, "stopping", "greenarrowd stops");
	question_free(q);
}

static void
look(struct thr_walk *walk, struct ga_group *g)
{
	struct question *q = GA_CONTAINER(walk, struct question, walk);

	if (strcmp(q->key, g->key) != 0 && !has_number(g, q->key))
		return;
	if (q->act != NULL)
		q->act(g, q);
	q->row = new_row(q->pool, g);
	walk->enough = true;
}

static void
begin_backoff(struct ga_group *g, const struct question *q)
{
	thr_backoff_begin(g, "begun by command", q->for_ms);
}

static void
end_backoff(struct ga_group *g, const struct question *q)
{
	(void)q;
	thr_backoff_end(g);
}

/* False: there is no such deed. */
static bool
read_act(struct json_object *args, struct question *q)
{
	struct json_object *m;
	const char *act = json_object_object_get_ex(args, "do", &m) ? json_object_get_string(m) : "";

	if (json_object_object_get_ex(args, "for_ms", &m) && json_object_get_int64(m) > 0)
		q->for_ms = (uint64_t)json_object_get_int64(m);
	if (strcmp(act, "begin_backoff") == 0)
		q->act = begin_backoff;
	else if (strcmp(act, "end_backoff") == 0)
		q->act = end_backoff;
	return q->act != NULL || *act == '\0';
}

static void
ask_throttle(struct ga_control_call *call, struct json_object *args, void *arg)
{
	struct question *q = ga_xcalloc(1, sizeof *q);

	(void)arg;
	if (!read_act(args, q)) {
		ga_control_error(call, "bad_argument", "do is neither begin_backoff nor end_backoff");
		free(q);
		return;
	}
	q->call = call;
	q->pool = ga_pool_new(0);
	copy_text(args, "key", q->key);
	q->walk.asker = ga_worker_main();
	q->walk.visit = look;
	q->walk.end = question_end;
	q->walk.drop = question_drop;
	thr_walk_begin(&q->walk);
}

void
thr_report_init(struct ga_inst *inst)
{
	ga_control_register(inst, "throttles", "all throttle groups", ask_throttles, NULL);
	ga_control_register(inst, "throttle", "one throttle group", ask_throttle, NULL);
}

/* --- each_group of the service --- */

struct each {
	struct thr_walk walk;
	void (*fn)(struct ga_group *, const struct ga_group_info *, void *);
	void (*end)(struct ga_worker *, void *);
	void *arg;
};

static void
each_visit(struct thr_walk *walk, struct ga_group *g)
{
	const struct each *e = GA_CONTAINER(walk, struct each, walk);
	const struct ga_group_info info = { ga_str_c(g->key), g->connections, g->max, thr_saved(g), g->waiting,
		g->in_flight };

	e->fn(g, &info, e->arg);
}

static void
each_drop(struct thr_walk *walk)
{
	free(GA_CONTAINER(walk, struct each, walk));
}

static void
each_end(struct ga_worker *w, struct thr_walk *walk)
{
	struct each *e = GA_CONTAINER(walk, struct each, walk);

	e->end(w, e->arg);
	free(e);
}

void
thr_each_group(struct ga_worker *asker,
    void (*fn)(struct ga_group *, const struct ga_group_info *, void *),
    void (*end)(struct ga_worker *, void *), void *arg)
{
	struct each *e = ga_xcalloc(1, sizeof *e);

	e->walk.asker = asker;
	e->walk.visit = each_visit;
	e->walk.end = each_end;
	e->walk.drop = each_drop;
	e->fn = fn;
	e->end = end;
	e->arg = arg;
	thr_walk_begin(&e->walk);
}
