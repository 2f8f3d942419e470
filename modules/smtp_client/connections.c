/*
 * connections.c - `connections` of the control socket: every open connection, for
 * `greenarrow remote_connections`.
 *
 * A walk over the loops (walk.c): each copies those of its connections that the
 * filters take into rows, SLICE a turn and no JSON there, so that delivery goes
 * on; then the main loop writes the answer in parts of PART rows, one a turn,
 * ordered by id.  Between two slices a cursor keeps the place; who closes a
 * connection moves the cursors that stand on it.
 *
 * Arguments, all optional: remote_ip, local_ip (with a port: exactly that one),
 * min_duration_ms, domain (the initial or the most recent one), mtaid, state.
 */
#include "client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <greenarrow/json.h>
#include <greenarrow/service/control.h>

#define SLICE 200		/* connections looked at in one turn of a loop */
#define PART 256		/* rows written in one turn of the main loop */
#define PAUSE_MS 20

/* Of what is not set everything is taken. */
struct filter {
	struct ga_sockaddr remote, local;	/* port 0: any */
	uint64_t min_ms;
	bool by_mta;
	uint32_t mta_id;
	char domain[256];
	char state[32];
};

struct row {
	struct row *next;
	uint64_t id, start_wall_ns, command_ms, expires_s;
	const char *state, *command;
	struct ga_sockaddr local, remote;
	unsigned done, max, group_max;
	uint32_t mta_id;
	bool tls;
	struct ga_str initial_domain, recent_domain, mx, group_key;
};

struct request {
	struct smtpc_walk walk;
	struct ga_timer *pause;	/* the client reads slowly */
	struct filter filter;
	bool begun;		/* on this loop; the cursor is in place */
	struct smtpc_cursor cursor;
	struct ga_pool *pool;	/* of the rows; goes where the request goes */
	struct row *rows, **order;
	size_t n, sent;
	size_t saved, busy;
};

/* --- on the loops --- */

/* The connection is about to leave the list. */
void
smtpc_cursors_pass(struct smtpc_loop *l, const struct smtpc_conn *c)
{
	struct smtpc_cursor *cursor;

	LIST_FOREACH(cursor, &l->cursors, link)
		if (cursor->next == c)
			cursor->next = TAILQ_NEXT(c, all);
}

static const struct ga_sockaddr *
local_address(const struct smtpc_conn *c)
{
	return c->local.len != 0 ? &c->local : &smtpc_source(c)->address;
}

static bool
address_taken(const struct ga_sockaddr *wanted, const struct ga_sockaddr *a)
{
	return wanted->len == 0 || (a->len != 0 &&
	    ga_sockaddr_equal(wanted, a, ga_sockaddr_port(wanted) != 0));
}

static bool
taken(const struct filter *f, const struct smtpc_conn *c, uint64_t now)
{
	struct ga_str domain = ga_str_c(f->domain);

	/* without an id it has nowhere to go and is about to end */
	return c->id != 0 && now - c->start_ms >= f->min_ms &&
	    (!f->by_mta || f->mta_id == c->route->mta_id) &&
	    (f->state[0] == '\0' || strcmp(f->state, smtpc_state_name(c->state)) == 0) &&
	    address_taken(&f->remote, &c->remote) && address_taken(&f->local, local_address(c)) &&
	    (domain.n == 0 || ga_str_caseeq(domain, ga_str_c(c->initial_domain)) ||
	    ga_str_caseeq(domain, c->route->domain));
}

static const char *
current_command(const struct smtpc_conn *c)
{
	bool reading = c->state == SMTPC_BODY && c->txn.body.waits;

	return smtpc_command_name(reading ? SMTPC_PREPARE : c->state);
}

static void
add_row(struct request *q, const struct smtpc_conn *c, uint64_t now)
{
	struct row *r = ga_alloc(q->pool, sizeof *r);

	r->id = c->id;
	r->start_wall_ns = c->start_wall_ns;
	r->state = smtpc_state_name(c->state);
	r->command = current_command(c);
	r->command_ms = *r->command != '\0' ? now - c->command_ms : 0;
	if (c->state == SMTPC_SAVED && c->deadline_ms > now)
		r->expires_s = (c->deadline_ms - now + 999) / 1000;
	r->local = *local_address(c);
	r->remote = c->remote;
	r->done = c->done;
	r->max = c->max;
	r->group_max = smtpc.throttle->max_connections(c->group);
	r->mta_id = c->route->mta_id;
	r->tls = c->tls;
	r->initial_domain = ga_dup(q->pool, ga_str_c(c->initial_domain));
	r->recent_domain = ga_dup(q->pool, c->route->domain);
	r->mx = ga_dup(q->pool, ga_str_c(c->mx));
	r->group_key = ga_dup(q->pool, smtpc.throttle->key(c->group));
	r->next = q->rows;
	q->rows = r;
	q->n++;
	q->saved += c->state == SMTPC_SAVED;
}

static void sort_rows(struct ga_worker *, struct ga_post *);

static void
visit_loop(struct ga_worker *w, struct ga_post *post)
{
	struct request *q = GA_CONTAINER(post, struct request, walk.post);
	struct smtpc_loop *l = smtpc_loop(w);
	uint64_t now = ga_now_ms(w);
	struct smtpc_conn *c = q->begun ? q->cursor.next : TAILQ_FIRST(&l->all);

	if (q->begun)
		LIST_REMOVE(&q->cursor, link);
	for (unsigned i = 0; i < SLICE && c != NULL; i++, c = TAILQ_NEXT(c, all))
		if (taken(&q->filter, c, now))
			add_row(q, c, now);
	q->begun = c != NULL;
	if (q->begun) {
		q->cursor.next = c;
		LIST_INSERT_HEAD(&l->cursors, &q->cursor, link);
		ga_loop_post(w, &q->walk.post);
	} else {
		smtpc_walk_next(&q->walk, sort_rows);
	}
}

/* --- JSON --- */

static void
put_address(struct json_object *o, const char *ip, const char *port, const struct ga_sockaddr *a)
{
	char text[GA_SOCKADDR_TEXT];

	ga_json_put_str(o, ip, ga_str_c(a->len != 0 ? ga_sockaddr_text(a, false, text) : ""));
	ga_json_put_int(o, port, a->len != 0 ? ga_sockaddr_port(a) : 0);
}

/* RFC 3339 with nanoseconds and the zone of this machine. */
static void
put_time(struct json_object *o, const char *key, uint64_t wall_ns)
{
	time_t s = (time_t)(wall_ns / 1000000000);
	char day[32], zone[8], text[64];
	struct tm tm;

	localtime_r(&s, &tm);
	strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm);
	strftime(zone, sizeof zone, "%z", &tm);
	snprintf(text, sizeof text, "%s.%09llu%.3s:%.2s", day,
	    (unsigned long long)(wall_ns % 1000000000), zone, zone + 3);
	ga_json_put_str(o, key, ga_str_c(text));
}

static struct json_object *
row_json(const struct row *r)
{
	struct json_object *o = json_object_new_object();
	char mta[16];

	snprintf(mta, sizeof mta, "%u", (unsigned)r->mta_id);
	ga_json_put_int(o, "id", r->id);
	ga_json_put_str(o, "state", ga_str_c(r->state));
	put_time(o, "start_time", r->start_wall_ns);
	put_address(o, "local_ip", "local_port", &r->local);
	put_address(o, "remote_ip", "remote_port", &r->remote);
	ga_json_put_int(o, "deliveries_done", r->done);
	ga_json_put_int(o, "deliveries_max", r->max);
	ga_json_put_int(o, "conn_expires_remaining", r->expires_s);
	ga_json_put_str(o, "initial_domain", r->initial_domain);
	ga_json_put_str(o, "most_recent_domain", r->recent_domain);
	ga_json_put_str(o, "mx_hostname", r->mx);
	ga_json_put_str(o, "throttle_group_key", r->group_key);
	ga_json_put_int(o, "throttle_group_maxconn", r->group_max);
	ga_json_put_str(o, "outmtaid", ga_str_c(mta));
	ga_json_put_bool(o, "tls_active", r->tls);
	ga_json_put_int(o, "current_smtp_command_duration_ms", r->command_ms);
	ga_json_put_str(o, "current_smtp_command", ga_str_c(r->command));
	return o;
}

/* --- on the main loop --- */

static void write_part(struct ga_worker *, struct ga_post *);

static int
by_id(const void *a, const void *b)
{
	uint64_t x = (*(struct row *const *)a)->id, y = (*(struct row *const *)b)->id;

	return x < y ? -1 : x > y;
}

static void
sort_rows(struct ga_worker *w, struct ga_post *post)
{
	struct request *q = GA_CONTAINER(post, struct request, walk.post);
	size_t k = 0;

	q->order = ga_xcalloc(q->n > 0 ? q->n : 1, sizeof *q->order);
	for (struct row *r = q->rows; r != NULL; r = r->next)
		q->order[k++] = r;
	q->busy = q->n - q->saved;
	qsort(q->order, q->n, sizeof *q->order, by_id);
	q->walk.post.fn = write_part;
	write_part(w, post);
}

static void
request_free(struct smtpc_walk *walk)
{
	struct request *q = GA_CONTAINER(walk, struct request, walk);

	ga_timer_free(q->pause);
	ga_pool_free(q->pool);
	free(q->order);
	free(q);
}

static void
request_end(struct request *q)
{
	struct json_object *o = json_object_new_object();

	ga_json_put_int(o, "connections_saved_for_reuse", q->saved);
	ga_json_put_int(o, "connections_delivery_in_progress", q->busy);
	ga_control_reply(q->walk.call, o);
	smtpc_walk_end(&q->walk);
}

static void
pause_over(struct ga_inst *inst, struct ga_worker *w, void *arg)
{
	struct request *q = arg;

	write_part(w, &q->walk.post);
}

static void
write_part(struct ga_worker *w, struct ga_post *post)
{
	struct request *q = GA_CONTAINER(post, struct request, walk.post);
	struct json_object *part, *list;

	if (q->sent == q->n || ga_control_gone(q->walk.call)) {
		request_end(q);
		return;
	}
	part = json_object_new_object();
	list = json_object_new_array();
	for (size_t i = 0; i < PART && q->sent < q->n; i++)
		json_object_array_add(list, row_json(q->order[q->sent++]));
	json_object_object_add(part, "remote_connections", list);
	if (ga_control_part(q->walk.call, part)) {
		ga_loop_post(w, &q->walk.post);
		return;
	}
	if (q->pause == NULL)
		q->pause = ga_timer_new(smtpc.inst, w, pause_over, q);
	ga_timer_arm(q->pause, PAUSE_MS, 0);
}

/* --- the request --- */

static const char *
text_of(struct json_object *args, const char *key)
{
	struct json_object *m;

	return json_object_object_get_ex(args, key, &m) ? json_object_get_string(m) : "";
}

static bool
read_address(struct json_object *args, const char *key, struct ga_sockaddr *a)
{
	const char *text = text_of(args, key);

	return *text == '\0' || ga_sockaddr_parse(a, ga_str_c(text), 0);
}

/* NULL, or the argument that is none. */
static const char *
read_filter(struct json_object *args, struct filter *f)
{
	struct json_object *m;

	if (!read_address(args, "remote_ip", &f->remote))
		return "remote_ip";
	if (!read_address(args, "local_ip", &f->local))
		return "local_ip";
	if (json_object_object_get_ex(args, "min_duration_ms", &m))
		f->min_ms = json_object_get_int64(m) > 0 ? (uint64_t)json_object_get_int64(m) : 0;
	f->by_mta = json_object_object_get_ex(args, "mtaid", &m);
	if (f->by_mta)
		f->mta_id = (uint32_t)json_object_get_int64(m);
	smtpc_copy(f->domain, sizeof f->domain, ga_str_c(text_of(args, "domain")));
	smtpc_copy(f->state, sizeof f->state, ga_str_c(text_of(args, "state")));
	return NULL;
}

static void
ask_connections(struct ga_control_call *call, struct json_object *args, void *arg)
{
	struct request *q = ga_xcalloc(1, sizeof *q);
	const char *wrong = read_filter(args, &q->filter);

	if (wrong != NULL) {
		ga_control_error(call, "bad_argument", "%s is not an IP address", wrong);
		free(q);
		return;
	}
	q->pool = ga_pool_new(0);
	smtpc_walk_begin(&q->walk, call, visit_loop, request_free);
}

void
smtpc_connections_init(struct ga_inst *inst)
{
	ga_control_register(inst, "connections", "all connections for delivering mail",
	    ask_connections, NULL);
}
