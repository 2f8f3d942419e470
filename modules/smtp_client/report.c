/*
 * report.c - what connections do now: `connections` of the control socket, the
 * part of `greenarrow status`, the delivery service's stats().
 *
 * The command is asked on the main loop.  Connections belong to their loops, so a
 * request travels: each loop copies its connections into rows (no JSON there,
 * delivery goes on), the last one posts back, and the main loop writes the
 * answer in parts of PART rows, one a turn, ordered by id.
 */
#include "client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <greenarrow/service/control.h>

#define PART 256
#define PAUSE_MS 20

static const struct {
	const char *state, *command;
} names[SMTPC_STATES] = {
	[SMTPC_CONNECTING] = { "connecting", "" },
	[SMTPC_GREETING] = { "sending", "" },
	[SMTPC_EHLO] = { "sending", "EHLO" },
	[SMTPC_HELO] = { "sending", "EHLO" },
	[SMTPC_STARTTLS_CMD] = { "sending", "STARTTLS" },
	[SMTPC_HANDSHAKE] = { "sending", "STARTTLS" },
	[SMTPC_PREPARE] = { "sending", "sending message (reading)" },
	[SMTPC_RSET] = { "sending", "MAIL FROM" },
	[SMTPC_MAIL] = { "sending", "MAIL FROM" },
	[SMTPC_RCPT] = { "sending", "RCPT TO" },
	[SMTPC_DATA] = { "sending", "DATA" },
	[SMTPC_BODY] = { "sending", "sending message (sending)" },
	[SMTPC_HELD] = { "sending", "sending message (sending)" },
	[SMTPC_DOT] = { "sending", "sending message (waiting)" },
	[SMTPC_SAVED] = { "saved_for_reuse", "" },
	[SMTPC_QUIT] = { "closing", "QUIT" },
	[SMTPC_CLOSED] = { "closing", "" },
};

const char *
smtpc_state_name(enum smtpc_state s)
{
	return names[s].state;
}

const char *
smtpc_command_name(enum smtpc_state s)
{
	return names[s].command;
}

/* --- rows --- */

struct row {
	uint64_t id, start_wall_us, command_ms, expires_s;
	const char *state, *command;
	struct ga_sockaddr local, remote;
	unsigned done, max, group_max;
	uint32_t mta_id;
	bool tls;
	char initial_domain[256], recent_domain[256], mx[256], group_key[280];
};

struct part {			/* what one loop found */
	struct row *rows;
	size_t n, room;
};

struct request {
	struct ga_post post;
	struct ga_control_call *call;
	struct ga_timer *pause;	/* the client reads slowly */
	unsigned at;		/* loop it is on */
	struct part *parts;	/* one a loop */
	struct row **order;
	size_t n, sent;
	size_t saved, busy;
};

static const char *
current_command(const struct smtpc_conn *c)
{
	bool reading = c->state == SMTPC_BODY && c->txn.body.iov_at == c->txn.body.niov &&
	    c->txn.body.reading;

	return smtpc_command_name(reading ? SMTPC_PREPARE : c->state);
}

static void
fill_row(struct row *r, const struct smtpc_conn *c, uint64_t now)
{
	r->id = c->id;
	r->start_wall_us = c->start_wall_us;
	r->state = smtpc_state_name(c->state);
	r->command = current_command(c);
	r->command_ms = *r->command != '\0' ? now - c->state_ms : 0;
	if (c->state == SMTPC_SAVED && c->deadline_ms > now)
		r->expires_s = (c->deadline_ms - now + 999) / 1000;
	r->local = c->local;
	if (r->local.len == 0)
		r->local = smtpc_source(c)->address;
	r->remote = c->remote;
	r->done = c->done;
	r->max = c->max;
	r->group_max = smtpc.throttle->max_connections(c->group);
	r->mta_id = c->route->mta_id;
	r->tls = c->tls;
	smtpc_copy(r->initial_domain, sizeof r->initial_domain, ga_str_c(c->initial_domain));
	smtpc_copy(r->recent_domain, sizeof r->recent_domain, c->route->domain);
	smtpc_copy(r->mx, sizeof r->mx, ga_str_c(c->mx));
	smtpc_copy(r->group_key, sizeof r->group_key, smtpc.throttle->key(c->group));
}

static void write_part(struct ga_worker *, struct ga_post *);
static void sort_rows(struct ga_worker *, struct ga_post *);

static void
visit_loop(struct ga_worker *w, struct ga_post *post)
{
	struct request *q = GA_CONTAINER(post, struct request, post);
	struct smtpc_loop *l = smtpc_loop(w);
	struct part *p = &q->parts[q->at];
	uint64_t now = ga_now_ms(w);
	struct smtpc_conn *c;

	p->rows = ga_xcalloc(l->open > 0 ? l->open : 1, sizeof *p->rows);
	TAILQ_FOREACH(c, &l->all, all)
		fill_row(&p->rows[p->n++], c, now);
	if (++q->at < ga_worker_count()) {
		ga_loop_post(ga_worker_get(q->at), &q->post);
	} else {
		q->post.fn = sort_rows;
		ga_loop_post(ga_worker_main(), &q->post);
	}
}

/* --- JSON --- */

static void
put_str(struct json_object *o, const char *key, const char *s)
{
	json_object_object_add(o, key, json_object_new_string(s));
}

static void
put_int(struct json_object *o, const char *key, uint64_t v)
{
	json_object_object_add(o, key, json_object_new_int64((int64_t)v));
}

static void
put_address(struct json_object *o, const char *ip, const char *port, const struct ga_sockaddr *a)
{
	char text[GA_SOCKADDR_TEXT];

	put_str(o, ip, a->len != 0 ? ga_sockaddr_text(a, false, text) : "");
	put_int(o, port, a->len != 0 ? ga_sockaddr_port(a) : 0);
}

/* RFC 3339 with nanoseconds and the zone of this machine. */
static void
put_time(struct json_object *o, const char *key, uint64_t wall_us)
{
	time_t s = (time_t)(wall_us / 1000000);
	char day[32], zone[8], text[64];
	struct tm tm;

	localtime_r(&s, &tm);
	strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm);
	strftime(zone, sizeof zone, "%z", &tm);
	snprintf(text, sizeof text, "%s.%09llu%.3s:%.2s", day,
	    (unsigned long long)(wall_us % 1000000) * 1000, zone, zone + 3);
	put_str(o, key, text);
}

static struct json_object *
row_json(const struct row *r)
{
	struct json_object *o = json_object_new_object();
	char mta[16];

	snprintf(mta, sizeof mta, "%u", (unsigned)r->mta_id);
	put_int(o, "id", r->id);
	put_str(o, "state", r->state);
	put_time(o, "start_time", r->start_wall_us);
	put_address(o, "local_ip", "local_port", &r->local);
	put_address(o, "remote_ip", "remote_port", &r->remote);
	put_int(o, "deliveries_done", r->done);
	put_int(o, "deliveries_max", r->max);
	put_int(o, "conn_expires_remaining", r->expires_s);
	put_str(o, "initial_domain", r->initial_domain);
	put_str(o, "most_recent_domain", r->recent_domain);
	put_str(o, "mx_hostname", r->mx);
	put_str(o, "throttle_group_key", r->group_key);
	put_int(o, "throttle_group_maxconn", r->group_max);
	put_str(o, "outmtaid", mta);
	json_object_object_add(o, "tls_active", json_object_new_boolean(r->tls));
	put_int(o, "current_smtp_command_duration_ms", r->command_ms);
	put_str(o, "current_smtp_command", r->command);
	return o;
}

static int
by_id(const void *a, const void *b)
{
	uint64_t x = (*(struct row *const *)a)->id, y = (*(struct row *const *)b)->id;

	return x < y ? -1 : x > y;
}

static void
sort_rows(struct ga_worker *w, struct ga_post *post)
{
	struct request *q = GA_CONTAINER(post, struct request, post);
	size_t k = 0;

	for (unsigned i = 0; i < ga_worker_count(); i++)
		q->n += q->parts[i].n;
	q->order = ga_xcalloc(q->n > 0 ? q->n : 1, sizeof *q->order);
	for (unsigned i = 0; i < ga_worker_count(); i++)
		for (size_t j = 0; j < q->parts[i].n; j++) {
			struct row *r = &q->parts[i].rows[j];

			q->order[k++] = r;
			q->saved += r->state == smtpc_state_name(SMTPC_SAVED);
		}
	q->busy = q->n - q->saved;
	qsort(q->order, q->n, sizeof *q->order, by_id);
	q->post.fn = write_part;
	write_part(w, post);
}

static void
request_end(struct request *q)
{
	struct json_object *o = json_object_new_object();

	put_int(o, "connections_saved_for_reuse", q->saved);
	put_int(o, "connections_delivery_in_progress", q->busy);
	ga_control_reply(q->call, o);
	for (unsigned i = 0; i < ga_worker_count(); i++)
		free(q->parts[i].rows);
	ga_timer_free(q->pause);
	free(q->parts);
	free(q->order);
	free(q);
}

static void
pause_over(struct ga_inst *inst, struct ga_worker *w, void *arg)
{
	struct request *q = arg;

	write_part(w, &q->post);
}

static void
write_part(struct ga_worker *w, struct ga_post *post)
{
	struct request *q = GA_CONTAINER(post, struct request, post);
	struct json_object *part, *list;

	if (q->sent == q->n || ga_control_gone(q->call)) {
		request_end(q);
		return;
	}
	part = json_object_new_object();
	list = json_object_new_array();
	for (size_t i = 0; i < PART && q->sent < q->n; i++)
		json_object_array_add(list, row_json(q->order[q->sent++]));
	json_object_object_add(part, "remote_connections", list);
	if (ga_control_part(q->call, part)) {
		ga_loop_post(w, &q->post);
		return;
	}
	if (q->pause == NULL)
		q->pause = ga_timer_new(smtpc.inst, w, pause_over, q);
	ga_timer_arm(q->pause, PAUSE_MS, 0);
}

static void
ask_connections(struct ga_control_call *call, struct json_object *args, void *arg)
{
	struct request *q = ga_xcalloc(1, sizeof *q);

	q->call = call;
	q->parts = ga_xcalloc(ga_worker_count(), sizeof *q->parts);
	q->post.fn = visit_loop;
	ga_loop_post(ga_worker_get(0), &q->post);
}

/* --- totals --- */

void
smtpc_stats(struct ga_delivery_stats *s)
{
	*s = (struct ga_delivery_stats){
		.connections = atomic_load(&smtpc.connections),
		.saved = atomic_load(&smtpc.saved),
		.connecting = atomic_load(&smtpc.connecting),
		.opened_total = atomic_load(&smtpc.opened),
		.transactions_total = atomic_load(&smtpc.transactions),
		.recipients_total = atomic_load(&smtpc.recipients),
		.success_total = atomic_load(&smtpc.successes),
		.deferral_total = atomic_load(&smtpc.deferrals),
		.failure_total = atomic_load(&smtpc.failures),
	};
}

static void
status(struct ga_inst *inst, struct json_object *all)
{
	struct json_object *o = json_object_new_object();
	struct ga_delivery_stats s;

	smtpc_stats(&s);
	put_int(o, "connections", s.connections);
	put_int(o, "connecting", s.connecting);
	put_int(o, "saved_for_reuse", s.saved);
	put_int(o, "opened_total", s.opened_total);
	put_int(o, "transactions_total", s.transactions_total);
	put_int(o, "recipients_total", s.recipients_total);
	put_int(o, "success_total", s.success_total);
	put_int(o, "deferral_total", s.deferral_total);
	put_int(o, "failure_total", s.failure_total);
	json_object_object_add(all, "smtp_client", o);
}

void
smtpc_report_init(struct ga_inst *inst)
{
	ga_control_register(inst, "connections", "all connections for delivering mail",
	    ask_connections, NULL);
	ga_status_register(inst, status);
}
