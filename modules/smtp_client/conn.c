/*
 * conn.c - an outgoing connection: its stream, timer, states and ends.
 *
 * Opened in connect.c, driven by session.c and transaction.c; lives on the loop of
 * the throttle group.  It holds one slot of the group from open to
 * throttle->closed(), however many addresses it tries meanwhile.  References: one
 * for the slot, one for every spool request or post under way, so that their
 * callbacks find it.  Freed ones are kept for the next (their timer and buffer
 * with them).  Until MAIL has been answered a failure leads to the next address;
 * after that it ends the tickets.
 */
#include "client.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEEP_FREE 64		/* connections kept for the next ones of a loop */
#define AFTER_WRITE_ERROR_MS 5000	/* to read what the peer said before it closed */

void
smtpc_copy(char *to, size_t room, struct ga_str s)
{
	size_t n = s.n < room ? s.n : room - 1;

	if (n > 0)
		memcpy(to, s.p, n);
	to[n] = '\0';
}

char *
smtpc_strdup(struct ga_str s)
{
	char *p = ga_xmalloc(s.n + 1);

	smtpc_copy(p, s.n + 1, s);
	return p;
}

/* --- references and memory --- */

static void timer_fired(struct ga_inst *, struct ga_worker *, void *arg);

struct smtpc_conn *
smtpc_conn_new(struct smtpc_loop *l)
{
	struct smtpc_conn *c = l->free_conns;

	if (c != NULL) {
		struct ga_timer *timer = c->timer;
		struct smtpc_out out = c->out;

		l->free_conns = TAILQ_NEXT(c, all);
		l->nfree--;
		memset(c, 0, offsetof(struct smtpc_conn, reply));
		memset(&c->later, 0, sizeof *c - offsetof(struct smtpc_conn, later));
		c->timer = timer;
		c->out = out;
	} else {
		c = ga_xcalloc(1, sizeof *c);
		c->timer = ga_timer_new(smtpc.inst, l->worker, timer_fired, c);
	}
	c->magic = SMTPC_CONN_MAGIC;
	c->refs = 1;
	c->loop = l;
	LIST_INSERT_HEAD(&l->objects, c, object);
	return c;
}

struct smtpc_conn *
smtpc_conn_ref(struct smtpc_conn *c)
{
	c->refs++;
	return c;
}

void
smtpc_conn_unref(struct smtpc_conn *c)
{
	struct smtpc_loop *l = c->loop;

	if (--c->refs > 0)
		return;
	c->magic = 0;
	LIST_REMOVE(c, object);
	if (c->route != NULL)
		ga_route_unref(c->route);
	c->route = NULL;
	smtpc_out_reset(&c->out);
	if (l->nfree < KEEP_FREE && !l->draining) {
		TAILQ_NEXT(c, all) = l->free_conns;
		l->free_conns = c;
		l->nfree++;
	} else {
		ga_timer_free(c->timer);
		smtpc_out_free(&c->out);
		free(c);
	}
	smtpc_drain_check(l);
}

void
smtpc_conns_stop(struct smtpc_loop *l)
{
	struct smtpc_conn *c;

	LIST_FOREACH(c, &l->objects, object) {
		ga_timer_free(c->timer);
		c->timer = NULL;
	}
}

void
smtpc_conns_end(struct smtpc_loop *l)
{
	struct smtpc_conn *c;

	while ((c = LIST_FIRST(&l->objects)) != NULL) {
		if (c->txn.loading && c->txn.read.message != NULL)
			ga_message_unref(c->txn.read.message);
		if (c->txn.body.reading && c->txn.body.read.piece != NULL)
			ga_body_unref(c->txn.body.read.piece);
		c->refs = 1;
		smtpc_conn_unref(c);
	}
}

/* --- states, time --- */

/* Only its loop writes, so there is nothing to wait for. */
static void
count_state(struct smtpc_loop *l, enum smtpc_state state, int by)
{
	uint32_t n = atomic_load_explicit(&l->in_state[state], memory_order_relaxed);

	if (state != SMTPC_CLOSED)
		atomic_store_explicit(&l->in_state[state], n + (uint32_t)by, memory_order_relaxed);
}

void
smtpc_enter(struct smtpc_conn *c, enum smtpc_state state)
{
	count_state(c->loop, c->state, -1);
	count_state(c->loop, state, 1);
	if ((c->state == SMTPC_CONNECTING) != (state == SMTPC_CONNECTING))
		smtpc_count(&smtpc.connecting, state == SMTPC_CONNECTING ? 1 : -1);
	if ((c->state == SMTPC_SAVED) != (state == SMTPC_SAVED))
		smtpc_count(&smtpc.saved, state == SMTPC_SAVED ? 1 : -1);
	smtpc_phase_spend(c);
	c->state = state;
	c->state_ms = c->command_ms = ga_now_ms(c->loop->worker);
}

/* The last thing that was settled, while nothing is asked or EHLO is. */
static enum ga_attempt_stage
session_stage(const struct smtpc_conn *c)
{
	if (c->authenticated)
		return GA_AT_AUTH;
	return c->tls ? GA_AT_TLS : GA_AT_GREETING;
}

enum ga_attempt_stage
smtpc_stage(const struct smtpc_conn *c)
{
	switch (c->state) {
	case SMTPC_CONNECTING: return GA_AT_CONNECT;
	case SMTPC_GREETING: return GA_AT_GREETING;
	case SMTPC_SMTPS:
	case SMTPC_STARTTLS_CMD:
	case SMTPC_HANDSHAKE: return GA_AT_TLS;
	case SMTPC_AUTH: return GA_AT_AUTH;
	case SMTPC_RSET:
	case SMTPC_MAIL: return GA_AT_MAIL;
	case SMTPC_RCPT: return GA_AT_RCPT;
	case SMTPC_DATA: return GA_AT_DATA;
	case SMTPC_BODY:
	case SMTPC_HELD:
	case SMTPC_DOT: return GA_AT_MESSAGE;
	default: return session_stage(c);
	}
}

void
smtpc_enter_since(struct smtpc_conn *c, enum smtpc_state state, uint64_t command_ms)
{
	smtpc_enter(c, state);
	c->command_ms = command_ms;
}

void
smtpc_deadline(struct smtpc_conn *c, uint64_t ms)
{
	if (ms == 0) {
		c->deadline_ms = 0;
		return;
	}
	c->deadline_ms = ga_now_ms(c->loop->worker) + ms;
	/* An earlier alarm only finds that it is early and sets the next one. */
	if (c->armed_ms != 0 && c->armed_ms <= c->deadline_ms)
		return;
	c->armed_ms = c->deadline_ms;
	ga_timer_arm(c->timer, ms, 0);
}

static void
timed_out(struct smtpc_conn *c)
{
	uint64_t s = (ga_now_ms(c->loop->worker) - c->state_ms + 500) / 1000;
	const char *command = smtpc_command_name(c->state);

	if (c->write_failed) {
		smtpc_conn_lost(c, "4.4.2", true, "connection to %s was lost", c->mx);
	} else if (c->state == SMTPC_SAVED) {
		smtpc_unsave(c);
		smtpc_session_quit(c, "idle");
	} else if (c->state == SMTPC_QUIT) {
		smtpc_conn_close(c, "no reply to QUIT", false);
	} else {
		smtpc_conn_lost(c, "4.4.2", true, "%s did not answer %s within %llu seconds", c->mx,
		    *command != '\0' ? command : "with a greeting", (unsigned long long)s);
	}
}

static void
timer_fired(struct ga_inst *inst, struct ga_worker *w, void *arg)
{
	struct smtpc_conn *c = arg;
	uint64_t now = ga_now_ms(w);

	c->armed_ms = 0;
	if (c->deadline_ms == 0)
		return;
	if (c->deadline_ms > now) {
		c->armed_ms = c->deadline_ms;
		ga_timer_arm(c->timer, c->deadline_ms - now, 0);
		return;
	}
	c->deadline_ms = 0;
	smtpc_conn_ref(c);
	timed_out(c);
	smtpc_conn_unref(c);
}

/* --- writing --- */

static void
want(struct smtpc_conn *c, unsigned events)
{
	if (c->wanted == events)
		return;
	c->wanted = events;
	ga_stream_want(c->stream, events);
}

void
smtpc_want_write(struct smtpc_conn *c)
{
	want(c, GA_READ | GA_WRITE);
}

void
smtpc_want_read(struct smtpc_conn *c)
{
	want(c, GA_READ);
}

/* The reason is often a reply that lies unread, so reading goes on for a while. */
void
smtpc_write_failed(struct smtpc_conn *c, int error)
{
	c->write_failed = true;
	want(c, GA_READ);
	smtpc_deadline(c, AFTER_WRITE_ERROR_MS);
}

void
smtpc_flush(struct smtpc_conn *c)
{
	struct smtpc_out *o = &c->out;

	if (GA_WANTED(c->plan, line) && o->logged < o->n)
		smtpc_line(c, GA_OUT_CMD, o->p + o->logged, o->n - o->logged);
	o->logged = o->n;
	while (o->sent < o->n && !c->write_failed) {
		struct iovec v = { o->p + o->sent, o->n - o->sent };
		ssize_t n = ga_stream_writev(c->stream, &v, 1);

		if (n == -EAGAIN) {
			smtpc_want_write(c);
			return;
		}
		if (n < 0) {
			smtpc_write_failed(c, (int)-n);
			return;
		}
		o->sent += (size_t)n;
		if (GA_WANTED(c->plan, bytes))
			smtpc_tell_sent(c, o->sent - (size_t)n, o->sent);
	}
	smtpc_out_reset(o);
}

static void
writable(struct smtpc_conn *c)
{
	if (c->out.sent < c->out.n) {
		smtpc_flush(c);
		if (c->out.sent < c->out.n)
			return;
	}
	if (c->state == SMTPC_BODY)
		smtpc_txn_writable(c);
	else
		want(c, GA_READ);
}

/* --- reading --- */

static void
got(struct smtpc_conn *c, const char *p, size_t n)
{
	struct ga_stream *s = c->stream;

	while (n > 0 && c->stream == s) {
		int state;
		size_t used = ga_reply_feed(&c->reply, p, n, &state);

		p += used;
		n -= used;
		if (state < 0) {
			smtpc_conn_lost(c, "4.5.0", false, "%s sent something that is no SMTP reply",
			    c->mx);
			return;
		}
		if (state == 0)
			continue;
		if (GA_WANTED(c->plan, line))
			smtpc_line(c, GA_OUT_REPLY, c->reply.text, c->reply.n);
		smtpc_session_reply(c, n);
		ga_reply_reset(&c->reply);
	}
}

static void
readable(struct smtpc_conn *c)
{
	ssize_t n = ga_stream_read(c->stream, c->loop->scratch, SMTPC_SCRATCH);

	if (n > 0) {
		smtpc_octets(c, GA_OUT_REPLY, false, (struct ga_str){ c->loop->scratch, (size_t)n });
		got(c, c->loop->scratch, (size_t)n);
	} else if (n == 0)
		smtpc_conn_lost(c, "4.4.2", true, "%s closed the connection", c->mx);
	else if (n != -EAGAIN)
		smtpc_conn_lost(c, "4.4.2", true, "connection to %s: %s", c->mx, strerror((int)-n));
}

void
smtpc_stream_ready(struct ga_stream *s, unsigned events, void *arg)
{
	struct smtpc_conn *c = arg;

	smtpc_conn_ref(c);
	if (events & GA_WRITE)
		writable(c);
	if ((events & GA_READ) && c->stream == s)
		readable(c);
	smtpc_conn_unref(c);
}

void
smtpc_stream_tls_done(struct ga_stream *s, const char *err, void *arg)
{
	struct smtpc_conn *c = arg;

	smtpc_conn_ref(c);
	smtpc_session_tls_done(c, err);
	smtpc_conn_unref(c);
}

/* --- ends --- */

void
smtpc_reason(struct smtpc_conn *c, const struct smtpc_verdict *v)
{
	c->why_code = v->code;
	c->why_network = v->network;
	c->why_stage = v->stage;
	smtpc_copy(c->why, sizeof c->why, v->text);
	smtpc_copy(c->why_enhanced, sizeof c->why_enhanced,
	    v->from_reply ? ga_reply_enhanced(&c->reply) : ga_str_c(v->enhanced));
}

static void
later(struct smtpc_conn *c, void (*fn)(struct ga_worker *, struct ga_post *))
{
	if (c->posted)
		return;
	c->posted = true;
	c->later.fn = fn;
	smtpc_conn_ref(c);
	ga_loop_post(c->loop->worker, &c->later);
}

static void
give_up_now(struct ga_worker *w, struct ga_post *post)
{
	struct smtpc_conn *c = GA_CONTAINER(post, struct smtpc_conn, later);

	c->posted = false;
	if (c->state != SMTPC_CLOSED) {
		if (c->loop->draining)
			smtpc_conn_abort(c);
		else
			smtpc_give_up(c);
	}
	smtpc_conn_unref(c);
}

static void
next_now(struct ga_worker *w, struct ga_post *post)
{
	struct smtpc_conn *c = GA_CONTAINER(post, struct smtpc_conn, later);

	c->posted = false;
	if (c->state == SMTPC_PREPARE && c->txn.first == NULL)
		smtpc_txn_next(c);
	smtpc_conn_unref(c);
}

void
smtpc_next_later(struct smtpc_conn *c)
{
	smtpc_enter(c, SMTPC_PREPARE);
	smtpc_deadline(c, 0);
	later(c, next_now);
}

void
smtpc_give_up_later(struct smtpc_conn *c)
{
	later(c, give_up_now);
}

/* RFC 8689 4.2.1: it will not offer it tomorrow.  A certificate may be mended. */
static bool
no_tls_where_required(const struct smtpc_conn *c)
{
	return c->txn.message != NULL && (c->txn.message->flags & GA_MSG_REQUIRETLS) != 0 &&
	    strcmp(c->why_enhanced, SMTPC_NO_TLS) == 0;
}

void
smtpc_give_up(struct smtpc_conn *c)
{
	struct smtpc_verdict v = { .result = GA_RESULT_DEFERRAL, .code = c->why_code,
		.network = c->why_network, .stage = c->why_stage, .enhanced = c->why_enhanced,
		.text = ga_str_c(c->why) };

	/* These hooks are about recipients: wait for the message, which is not far. */
	c->given_up = c->txn.loading &&
	    (GA_WANTED(c->plan, attempt_done) || GA_WANTED(c->plan, attempt_failed) || GA_WANTED(c->plan, result));
	if (c->given_up) {
		smtpc_deadline(c, 0);
		return;
	}
	if (no_tls_where_required(c)) {
		v.result = GA_RESULT_FAILURE;
		v.enhanced = "5.7.30";
	}
	smtpc_carry_end(c, &v);
	smtpc_result_rest(c, &v);
	smtpc_results_end(c);
	smtpc_conn_close(c, c->why, true);
}

void
smtpc_host_failed(struct smtpc_conn *c, const struct smtpc_verdict *v)
{
	smtpc_reason(c, v);
	ga_log(smtpc.inst, GA_DEBUG, "GA-SMC-0001", "connection %llu: %s",
	    (unsigned long long)c->id, c->why);
	smtpc_drop_stream(c, c->why, false);
	c->no_tls = false;
	c->target++;
	if (c->txn.first == NULL && c->carry == NULL)
		smtpc_conn_close(c, c->why, true);
	else
		smtpc_connect_next(c);
}

void
smtpc_conn_failed(struct smtpc_conn *c, const struct smtpc_verdict *v)
{
	struct smtpc_verdict defer = *v;
	char why[200];

	switch (c->state) {
	case SMTPC_CLOSED:
		return;
	case SMTPC_SAVED:
		smtpc_unsave(c);
		/* fall through */
	case SMTPC_QUIT:
		snprintf(why, sizeof why, "%.*s", (int)v->text.n, v->text.p);
		smtpc_conn_close(c, why, false);
		return;
	case SMTPC_PREPARE:
	case SMTPC_RSET:
	case SMTPC_MAIL:
		if (c->reused && c->txn.first != NULL)
			smtpc_conn_again(c, "found closed when it was to be used again", true);
		else
			smtpc_host_failed(c, v);
		return;
	case SMTPC_RCPT:
	case SMTPC_DATA:
	case SMTPC_BODY:
	case SMTPC_HELD:
	case SMTPC_DOT:
		break;
	default:
		smtpc_host_failed(c, v);
		return;
	}
	defer.result = GA_RESULT_DEFERRAL;
	snprintf(why, sizeof why, "%.*s", (int)v->text.n, v->text.p);
	smtpc_result_rest(c, &defer);
	smtpc_carry_end(c, &defer);
	smtpc_results_end(c);
	smtpc_conn_close(c, why, true);
}

void
smtpc_conn_lost(struct smtpc_conn *c, const char *enhanced, bool network, const char *fmt, ...)
{
	char text[400];
	struct smtpc_verdict v = { .result = GA_RESULT_DEFERRAL, .network = network,
		.stage = smtpc_stage(c), .enhanced = enhanced };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	v.text = ga_str_c(text);
	smtpc_conn_failed(c, &v);
}

void
smtpc_conn_close(struct smtpc_conn *c, const char *why, bool abort)
{
	struct smtpc_loop *l = c->loop;
	struct ga_group *group = c->group;

	if (c->state == SMTPC_CLOSED)
		return;
	smtpc_drop_stream(c, why, abort);
	smtpc_deadline(c, 0);
	ga_timer_stop(c->timer);
	c->armed_ms = 0;
	smtpc_enter(c, SMTPC_CLOSED);
	ga_connection_end(&c->kept);
	smtpc_cursors_pass(l, c);
	TAILQ_REMOVE(&l->all, c, all);
	l->open--;
	ga_worker_load(l->worker, -1);
	smtpc_count(&smtpc.connections, -1);
	smtpc_conn_unref(c);
	smtpc.throttle->closed(group);
}

void
smtpc_conn_abort(struct smtpc_conn *c)
{
	struct smtpc_verdict recall = { .result = GA_RESULT_RECALLED, .enhanced = "" };
	struct smtpc_verdict defer = { .result = GA_RESULT_DEFERRAL, .network = true,
		.stage = GA_AT_MESSAGE, .enhanced = "4.3.2",
		.text = GA_STR("stopped while the reply to the message was awaited") };

	if (c->state == SMTPC_CLOSED)
		return;
	if (c->state == SMTPC_SAVED)
		smtpc_unsave(c);
	c->given_up = false;
	smtpc_carry_end(c, &recall);
	smtpc_result_rest(c, c->txn.dot_sent ? &defer : &recall);
	smtpc_results_end(c);
	smtpc_conn_close(c, "stopping", true);
}
