/*
 * receive.c - the octets of a message, whichever command brings them.
 *
 * Called by data.c (DATA) and cmd_bdat.c (BDAT) on the session's loop.  scan.c finds
 * what is wrong with the text; here it is stored, or, once the message is to be
 * refused, dropped: the refusal is said only when all has come that the client may
 * send without an answer, or it would take it for something else.
 *
 * The time a message may take grows with what has come of it (smtpd_min_data_rate), so
 * that an octet now and then keeps no session open.  When bodies in memory reach
 * queue_memory, or the spool is behind with a large one, nothing is read until
 * there is room; after HELD_MAX_MS without any the message is refused for now, which
 * frees what it held: sessions that wait for each other's memory cannot stay so.
 */
#include "session.h"

#define HELD_TICK_MS 50u
#define HELD_MAX_MS 30000u
/* Pieces of a large body that may be on their way at a time. */
#define PIECES_MAX 2u

void
smtpd_refuse_message(struct smtpd_session *s, enum smtpd_refusal why)
{
	if (s->refusal != REFUSE_NOT)
		return;
	s->refusal = why;
	smtpd_upload_drop(s);
	if (s->txn->body != NULL)
		ga_body_unref(s->txn->body);
	s->txn->body = NULL;
}

static void
store(void *arg, const char *p, size_t n)
{
	struct smtpd_session *s = arg;
	const struct smtpd_conf *conf = s->gen->conf;

	if (s->scan.size > s->max_size)
		smtpd_refuse_message(s, REFUSE_SIZE);
	else if (s->scan.in_header && s->scan.size > conf->max_header_size)
		smtpd_refuse_message(s, REFUSE_HEADER);
	if (s->refusal == REFUSE_NOT)
		ga_body_append(s->txn->body, p, n);
}

/* What is wrong with the text goes before any other reason, and in this order, however
 * the text was cut on its way. */
static enum smtpd_refusal
wrong_text(const struct smtpd_session *s)
{
	const struct smtpd_scan *f = &s->scan;
	const struct smtpd_conf *conf = s->gen->conf;

	if (f->nul)
		return REFUSE_NUL;
	if ((f->bare_cr || f->bare_lf) && !f->normalize)
		return REFUSE_BARE;
	if (f->received > (uint64_t)conf->received_max)
		return REFUSE_LOOP;
	return f->header_size > conf->max_header_size ? REFUSE_HEADER : REFUSE_NOT;
}

static void
judge(struct smtpd_session *s)
{
	enum smtpd_refusal why = wrong_text(s);

	if (why == REFUSE_NOT)
		return;
	smtpd_refuse_message(s, why);
	s->refusal = why;
}

/* --- waiting for room --- */

static bool
must_wait(const struct smtpd_session *s)
{
	if (s->refusal != REFUSE_NOT)
		return false;
	if (s->complete)
		return smtpd_upload_pending(s) > 0;
	return smtpd_upload_pending(s) >= PIECES_MAX || ga_body_memory_full();
}

void
smtpd_hold(struct smtpd_session *s)
{
	s->held_since_ms = ga_now_ms(s->w->loop);
	s->held_in = s->state;
	smtpd_enter_state(s, S_HELD);
	smtpd_deadline(s, HELD_TICK_MS);
}

void
smtpd_held_tick(struct smtpd_session *s)
{
	uint64_t held = ga_now_ms(s->w->loop) - s->held_since_ms;

	if (must_wait(s) && held < HELD_MAX_MS) {
		smtpd_deadline(s, HELD_TICK_MS);
		return;
	}
	if (must_wait(s))
		smtpd_refuse_message(s, REFUSE_FULL);
	s->data_start_ms += held;
	smtpd_enter_state(s, s->held_in);
	smtpd_deadline(s, s->gen->conf->smtpd_data_timeout);
	if (s->complete)
		smtpd_message_complete(s);
	smtpd_resume_input(s);
}

/* --- time --- */

bool
smtpd_in_time(struct smtpd_session *s)
{
	const struct smtpd_conf *conf = s->gen->conf;
	uint64_t left = conf->smtpd_data_timeout, allowed, spent;

	if (conf->smtpd_min_data_rate > 0) {
		allowed = conf->smtpd_data_timeout + s->raw * 1000 / conf->smtpd_min_data_rate;
		spent = ga_now_ms(s->w->loop) - s->data_start_ms;
		if (spent >= allowed) {
			smtpd_goodbye(s, "4.4.2", "Message comes too slowly");
			return false;
		}
		if (allowed - spent < left)
			left = allowed - spent;
	}
	smtpd_deadline(s, left);
	return true;
}

void
smtpd_pace(struct smtpd_session *s)
{
	if (smtpd_in_time(s) && must_wait(s))
		smtpd_hold(s);
}

/* --- octets --- */

void
smtpd_receive_begin(struct smtpd_session *s, enum smtpd_scan_how how)
{
	smtpd_scan_init(&s->scan, how, s->gen->conf->bare_newlines == SMTPD_BARE_NORMALIZE,
	    store, s);
	s->txn->body = ga_body_new();
	s->complete = false;
	s->raw = 0;
	s->data_start_ms = ga_now_ms(s->w->loop);
}

size_t
smtpd_receive(struct smtpd_session *s, const char *p, size_t n)
{
	size_t used = smtpd_scan_feed(&s->scan, p, n, &s->complete);

	s->raw += used;
	judge(s);
	if (!s->complete && s->refusal == REFUSE_NOT && smtpd_upload_wanted(s))
		smtpd_upload_feed(s, false);
	return used;
}

void
smtpd_receive_end(struct smtpd_session *s)
{
	smtpd_scan_end(&s->scan);
	judge(s);
	s->complete = true;
	smtpd_message_complete(s);
}

uint64_t
smtpd_drop_limit(const struct smtpd_session *s)
{
	return 2 * (s->max_size + 1048576);
}
