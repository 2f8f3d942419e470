/*
 * session.c - the life of a session: from the socket to its end.
 *
 * Called by accept.c (new), by the loop (stream, timer) and by the commands.  A
 * session and everything in it belongs to one worker loop.  It ends in one place,
 * smtpd_leave(), whoever decided so; while intake has its message it outlives its
 * connection until the answer.
 *
 * Deadlines are moved, not re-armed: the timer sleeps to the earliest it was ever
 * asked for and looks again, so that a command costs no timer operation.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "auth.h"
#include "proxy.h"
#include "variables.h"

/* How long a client may take to read our last words and close. */
#define LINGER_MS 1000

void
smtpd_enter_state(struct smtpd_session *s, enum smtpd_state state)
{
	if (s->state == S_DEAD)
		return;
	s->state = state;
}

void
smtpd_enter(struct smtpd_session *s)
{
	assert(s->magic == SMTPD_MAGIC);
	assert(s->w->current == NULL);
	s->w->current = s;
}

/* --- timer --- */

void
smtpd_deadline(struct smtpd_session *s, uint64_t ms)
{
	s->deadline_ms = ga_now_ms(s->w->loop) + ms;
	if (s->timer_due_ms == 0 || s->deadline_ms < s->timer_due_ms) {
		s->timer_due_ms = s->deadline_ms;
		ga_timer_arm(s->timer, ms, 0);
	}
}

static void
timed_out(struct smtpd_session *s)
{
	switch (s->state) {
	case S_GREETING:
	case S_COMMAND:
	case S_AUTH:
	case S_DATA:
	case S_CHUNK:
		ga_log(s->w->inst, GA_DEBUG, "GA-SMTPD-0010", "session %llu of %s: timeout",
		    (unsigned long long)s->id, s->peer_text);
		smtpd_goodbye(s, "4.4.2", "Timeout, closing the connection");
		break;
	case S_HELD:
		smtpd_held_tick(s);
		break;
	case S_VERIFY:
		smtpd_auth_tick(s);
		break;
	case S_PROXY:
		smtpd_proxy_timeout(s);
		break;
	case S_ASK:
	case S_CONTENT:
	case S_COMMIT:
		/* their ends are the hooks' and intake's to set */
		smtpd_deadline(s, s->gen->conf->smtpd_timeout);
		break;
	case S_TLS:
	case S_CLOSING:
	case S_LINGER:
	case S_DEAD:
	case S_COUNT_:
		smtpd_abort(s);
		break;
	}
}

static void
timer_fired(struct ga_inst *inst, struct ga_worker *loop, void *arg)
{
	struct smtpd_session *s = arg;
	uint64_t now = ga_now_ms(loop);

	smtpd_enter(s);
	s->timer_due_ms = 0;
	if (s->deadline_ms > now)
		smtpd_deadline(s, s->deadline_ms - now);
	else
		timed_out(s);
	smtpd_leave(s);
}

/* --- beginning --- */

/* Did a client that may not relay speak before it was greeted, as only spam software does? */
static bool
spoke_early(struct smtpd_session *s)
{
	return !s->greeted && !s->relays && (s->nin > 0 || ga_stream_read(s->stream, s->w->in, 1) > 0);
}

static void
turn_away_crowded(struct smtpd_session *s)
{
	atomic_fetch_add(&s->gen->service->count.refused, 1);
	smtpd_goodbye(s, "4.7.0", "Too many connections from your address");
}

/* What connect has left: rights, and whether they are enough for a client that has sessions already. */
static void
take_rights(struct smtpd_session *s)
{
	smtpd_variables_obey(s);
	if (!s->relays)
		return;
	s->crowded = false;
	smtpd_limits_uncount(s->client);
	s->client = NULL;
}

static void
greet(struct smtpd_session *s, enum ga_verdict v)
{
	smtpd_enter_state(s, S_COMMAND);
	take_rights(s);
	if (spoke_early(s)) {
		smtpd_say(s, "554 5.5.0 You spoke before the greeting");
		smtpd_close(s, true);
		return;
	}
	if (smtpd_refused(s, v)) {
		smtpd_close(s, true);
		return;
	}
	if (s->crowded) {
		turn_away_crowded(s);
		return;
	}
	s->greeted = true;
	smtpd_say_str(s, s->gen->greeting);
	smtpd_next_command(s);
}

static void
link_session(struct smtpd_session *s)
{
	struct smtpd_worker *w = s->w;

	s->next = w->sessions;
	if (s->next != NULL)
		s->next->prev = s;
	w->sessions = s;
	w->nsessions++;
	ga_worker_load(w->loop, +1);
}

static struct ga_addr
address(struct ga_pool *pool, const struct ga_sockaddr *a)
{
	char text[GA_SOCKADDR_TEXT];

	return (struct ga_addr){
		.text = ga_dup(pool, ga_str_c(ga_sockaddr_text(a, false, text))),
		.port = ga_sockaddr_port(a),
		.family = (uint8_t)a->u.sa.sa_family,
	};
}

void
smtpd_session_begin(struct smtpd_session *s)
{
	smtpd_enter_state(s, S_GREETING);
	smtpd_deadline(s, s->gen->conf->smtpd_timeout);
	smtpd_variables_begin(s);
	s->plan = ga_session_plan(s->ga);
	if (!s->greeted)
		s->xclient = !s->unnamed && smtpd_networks_have(&s->gen->access.xclient, &s->peer);
	if (smtpd_asks(s, connect)) {
		struct ga_pool *pool = ga_session_pool(s->ga);

		s->ev.connect = (struct ga_ev_connect){
			.s = s->ga,
			.peer = address(pool, &s->peer),
			.local = address(pool, &s->local),
			.service = ga_str_c(s->gen->service->name),
			.tls = s->implicit_tls,
			.unnamed = s->unnamed,
		};
	}
	smtpd_ask(s, GA_HOOK_connect, &s->ev.connect, greet);
	/* nobody waits for long with sessions that its address may not have */
	if (s->state == S_ASK && s->crowded && !smtpd_variables_relay(s))
		turn_away_crowded(s);
}

static struct smtpd_session *
new_session(struct smtpd_worker *w, struct smtpd_gen *gen, const struct smtpd_arrival *a)
{
	static atomic_ullong last_id;
	struct smtpd_session *s = ga_xcalloc(1, sizeof *s);

	s->magic = SMTPD_MAGIC;
	s->state = S_GREETING;
	s->w = w;
	s->gen = gen;
	s->client = a->client;
	s->id = atomic_fetch_add(&last_id, 1) + 1;
	s->peer = a->peer;
	s->local = a->local;
	s->implicit_tls = a->tls;
	ga_sockaddr_text(&a->peer, false, s->peer_text);
	s->relays = s->peer_relays = a->relays;
	s->crowded = a->crowded;
	s->max_size = gen->conf->max_message_size;
	s->stream = a->stream;
	s->stream->ready = smtpd_ready;
	s->stream->tls_done = smtpd_tls_done;
	s->stream->arg = s;
	s->timer = ga_timer_new(w->inst, w->loop, timer_fired, s);
	s->ga = ga_session_new(w->loop, gen->settings);
	s->plan = ga_session_plan(s->ga);
	return s;
}

void
smtpd_session_new(struct smtpd_worker *w, struct smtpd_gen *gen, const struct smtpd_arrival *a)
{
	struct smtpd_session *s = new_session(w, gen, a);

	link_session(s);
	smtpd_enter(s);
	if (a->proxied)
		smtpd_proxy_await(s);
	else if (s->implicit_tls)
		smtpd_tls_next(s);
	else
		smtpd_session_begin(s);
	smtpd_leave(s);
}

/* --- between commands --- */

void
smtpd_next_command(struct smtpd_session *s)
{
	smtpd_enter_state(s, S_COMMAND);
	if (s->state == S_COMMAND)
		smtpd_deadline(s, s->gen->conf->smtpd_timeout);
}

void
smtpd_reset(struct smtpd_session *s, enum ga_end end)
{
	smtpd_upload_drop(s);
	if (s->txn != NULL) {
		if (s->txn->id != 0)
			s->w->intake->release_id(s->w->loop, s->txn->id);
		ga_txn_free(s->txn, end);
		s->txn = NULL;
	}
	s->rcpt_refused = s->rcpt_over = 0;
	s->refusal = REFUSE_NOT;
	s->complete = false;
	memset(&s->bdat, 0, sizeof s->bdat);
}

void
smtpd_drain_session(struct smtpd_session *s, bool force)
{
	smtpd_enter(s);
	if (force && !s->commits && s->state != S_CLOSING && s->state != S_LINGER)
		smtpd_goodbye(s, "4.3.2", "Shutting down");
	/* a session between transactions is told by smtpd_leave() */
	smtpd_leave(s);
}

/* --- end --- */

void
smtpd_close(struct smtpd_session *s, bool linger)
{
	if (s->state == S_DEAD || s->state == S_CLOSING || s->state == S_LINGER)
		return;
	if (ga_run_busy(&s->run))
		ga_run_cancel(&s->run, GA_WHY_PEER_GONE);
	if (s->over == NULL)
		s->over = s->eof ? "closed by the client" : "refused";
	s->linger = linger;
	smtpd_enter_state(s, S_CLOSING);
	smtpd_deadline(s, LINGER_MS * 5);
}

void
smtpd_abort(struct smtpd_session *s)
{
	s->w->nout = s->w->current == s ? 0 : s->w->nout;
	s->state = S_DEAD;
}

static void
unlink_session(struct smtpd_session *s)
{
	struct smtpd_worker *w = s->w;

	if (s->prev != NULL)
		s->prev->next = s->next;
	else
		w->sessions = s->next;
	if (s->next != NULL)
		s->next->prev = s->prev;
	w->nsessions--;
	ga_worker_load(w->loop, -1);
	if (w->nsessions == 0 && w->hold != NULL) {
		ga_unhold(w->hold);
		w->hold = NULL;
	}
}

static void
tell_disconnect(struct smtpd_session *s)
{
	struct ga_ev_disconnect ev = { .s = s->ga, .session_id = s->id, .messages = s->messages,
		.tls = s->tls, .reason = ga_str_c(s->over != NULL ? s->over : "lost") };

	if (smtpd_asks(s, disconnect))
		smtpd_tell(s, GA_HOOK_disconnect, &ev);
}

/* The connection goes; with a message at intake the rest waits for its answer. */
static void
destroy(struct smtpd_session *s)
{
	if (ga_run_busy(&s->run))
		ga_run_cancel(&s->run, GA_WHY_PEER_GONE);
	if (s->stream != NULL) {
		tell_disconnect(s);
		ga_stream_close(s->stream, false);
		s->stream = NULL;
		ga_timer_free(s->timer);
		smtpd_limits_give(&s->gen->service->limits, s->client);
	}
	if (s->commits || smtpd_auth_busy(s))
		return;
	smtpd_auth_forget(s);
	smtpd_proxy_free(s);
	unlink_session(s);
	smtpd_reset(s, GA_END_ABORTED);
	ga_session_free(s->ga, s->w->stopping ? GA_END_DRAINED : GA_END_DONE);
	smtpd_gen_unref(s->gen);
	free((void *)(uintptr_t)s->helo.p);
	free(s->in);
	free(s->out);
	s->magic = 0;
	free(s);
}

/* Steps that follow by themselves once the replies are out. */
static void
settle(struct smtpd_session *s)
{
	if (s->state == S_COMMAND && s->w->draining && s->txn == NULL && s->nout == 0) {
		smtpd_goodbye(s, "4.3.2", "Shutting down");
		s->linger = false;	/* it was our turn to wait: nothing is on its way */
		smtpd_flush(s);
	}
	/* all that can be processed has been; a client that half-closed gets its replies */
	if (s->eof && !s->blocked && (s->state == S_COMMAND || s->state == S_AUTH ||
	    s->state == S_DATA || s->state == S_CHUNK))
		smtpd_close(s, false);
	if (s->nout > 0)
		return;
	if (s->state == S_TLS)
		smtpd_tls_begin(s);
	if (s->state != S_CLOSING && s->state != S_LINGER)
		return;
	if (!s->linger || s->eof) {
		s->state = S_DEAD;
	} else if (s->state == S_CLOSING) {
		smtpd_enter_state(s, S_LINGER);
		smtpd_deadline(s, LINGER_MS);
	}
}

void
smtpd_leave(struct smtpd_session *s)
{
	assert(s->w->current == s);
	if (s->stream != NULL && s->state != S_DEAD) {
		smtpd_flush(s);
		smtpd_unblock(s);
	}
	if (s->stream != NULL && s->state != S_DEAD)
		settle(s);
	s->w->nout = 0;
	s->w->current = NULL;
	if (s->stream == NULL || s->state == S_DEAD)
		destroy(s);
	else if (s->state != S_TLS || s->nout > 0)
		smtpd_update_want(s);
}
