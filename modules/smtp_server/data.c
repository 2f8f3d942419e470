/*
 * data.c - DATA: the message comes in.
 *
 * Called by command.c (DATA itself), then by io.c with all input until the end of
 * data, on the session's loop.  scan.c finds the end and what is wrong; here it is
 * stored, or, once the message is to be refused, dropped: the refusal is said only
 * after the real end of data, or the client would take it for something else.
 * Dropping is bounded too.
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

	if (s->scan.size > conf->max_message_size)
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
	smtpd_enter_state(s, S_HELD);
	smtpd_deadline(s, HELD_TICK_MS);
}

void
smtpd_data_tick(struct smtpd_session *s)
{
	uint64_t held = ga_now_ms(s->w->loop) - s->held_since_ms;

	if (must_wait(s) && held < HELD_MAX_MS) {
		smtpd_deadline(s, HELD_TICK_MS);
		return;
	}
	if (must_wait(s))
		smtpd_refuse_message(s, REFUSE_FULL);
	s->data_start_ms += held;
	smtpd_enter_state(s, S_DATA);
	smtpd_deadline(s, s->gen->conf->smtpd_data_timeout);
	if (s->complete)
		smtpd_message_complete(s);
	smtpd_resume_input(s);
}

/* --- time --- */

static void
set_deadline(struct smtpd_session *s)
{
	const struct smtpd_conf *conf = s->gen->conf;
	uint64_t left = conf->smtpd_data_timeout, allowed, spent;

	if (conf->smtpd_min_data_rate > 0) {
		allowed = conf->smtpd_data_timeout + s->raw * 1000 / conf->smtpd_min_data_rate;
		spent = ga_now_ms(s->w->loop) - s->data_start_ms;
		if (spent >= allowed) {
			smtpd_goodbye(s, "4.4.2", "Message comes too slowly");
			return;
		}
		if (allowed - spent < left)
			left = allowed - spent;
	}
	smtpd_deadline(s, left);
}

/* --- octets --- */

size_t
smtpd_input_data(struct smtpd_session *s, const char *p, size_t n)
{
	size_t used = smtpd_scan_feed(&s->scan, p, n, &s->complete);

	s->raw += used;
	judge(s);
	if (s->complete) {
		smtpd_message_complete(s);
		return used;
	}
	if (s->refusal != REFUSE_NOT && s->raw / 2 > s->gen->conf->max_message_size + 1048576) {
		smtpd_goodbye(s, "4.7.0", "Message without end");
		return used;
	}
	if (s->refusal == REFUSE_NOT && smtpd_upload_wanted(s))
		smtpd_upload_feed(s, false);
	set_deadline(s);
	if (s->state == S_DATA && must_wait(s))
		smtpd_hold(s);
	return used;
}

/* What comes behind a DATA that was refused may be the text of a message from a client
 * that did not wait: it must not be run as commands. */
static void
refuse_data(struct smtpd_session *s)
{
	if (s->behind > 0)
		smtpd_goodbye(s, "4.5.0", "Text was sent without waiting for 354");
}

void
smtpd_cmd_data(struct smtpd_session *s, struct ga_str arg)
{
	if (arg.n > 0) {
		smtpd_say(s, "501 5.5.4 DATA takes no argument");
	} else if (s->txn == NULL) {
		smtpd_say(s, "503 5.5.1 MAIL first");
	} else if (s->txn->nrcpts == 0 && s->rcpt_refused > 0) {
		smtpd_say(s, "554 5.5.1 No valid recipients");
	} else if (s->txn->nrcpts == 0) {
		smtpd_say(s, "503 5.5.1 RCPT first");
	} else if (s->w->intake->room(0) != 0) {
		smtpd_say(s, "452 4.3.1 No room for mail now, try again later");
	} else {
		smtpd_say(s, "354 End data with <CR><LF>.<CR><LF>");
		smtpd_scan_init(&s->scan, s->gen->conf->bare_newlines == SMTPD_BARE_NORMALIZE,
		    store, s);
		s->txn->body = ga_body_new();
		s->complete = false;
		s->raw = 0;
		s->data_start_ms = ga_now_ms(s->w->loop);
		smtpd_enter_state(s, S_DATA);
		smtpd_deadline(s, s->gen->conf->smtpd_data_timeout);
		return;
	}
	refuse_data(s);
}
