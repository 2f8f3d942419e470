/*
 * cmd_bdat.c - BDAT: the message comes in, in counted chunks (RFC 3030).
 *
 * Called by command.c (BDAT itself), then by io.c with the octets of the chunk, on the
 * session's loop.  A chunk is read to its end whatever is thought of it, and answered
 * then: its octets are never commands.  Where their number cannot be known the session
 * ends.
 *
 * A chunk that is refused in a transaction makes it a failed one: what follows is
 * refused too, until RSET, or a message would be stored with a piece missing.  What is
 * wrong with the text is said behind the last chunk, for a CR and its LF may lie in
 * two chunks; that there is no room, as soon as it is found.
 *
 * Bounds: octets that are dropped count over the whole session (smtpd_drop_limit);
 * a message in many chunks that carry next to nothing ends the session.
 */
#include <string.h>

#include "session.h"

/* A message may have so many chunks, and one more for each so many octets. */
#define CHUNKS_FREE 10000u
#define CHUNK_OCTETS 256u

/* "size" or "size LAST" */
static bool
parse_chunk(struct ga_str arg, uint64_t *size, bool *last)
{
	const char *blank = memchr(arg.p, ' ', arg.n);
	size_t n = blank != NULL ? (size_t)(blank - arg.p) : arg.n;
	struct ga_str end = ga_str_trim((struct ga_str){ arg.p + n, arg.n - n });

	*last = end.n > 0;
	return smtpd_number((struct ga_str){ arg.p, n }, size) &&
	    (!*last || ga_str_caseeq(end, GA_STR("LAST")));
}

/* Why the chunk is not taken: the reply; empty: it is. */
static struct ga_str
fault(const struct smtpd_session *s)
{
	const struct smtpd_bdat *b = &s->bdat;

	if (!s->esmtp)
		return GA_STR("503 5.5.1 Say EHLO first\r\n");
	if (b->failed)
		return GA_STR("503 5.5.1 A chunk was refused: say RSET\r\n");
	return b->begun ? (struct ga_str){ "", 0 } : smtpd_no_message_now(s);
}

/* --- a chunk is over --- */

/* More than a message may have has come, or was announced. */
static bool
over_size(const struct smtpd_session *s)
{
	uint64_t max = s->max_size;

	return s->scan.size > max || s->raw > max || s->bdat.left > max - s->raw;
}

/* Said at once, and whatever else is wrong; other reasons only behind the last chunk. */
static bool
no_room(struct smtpd_session *s)
{
	if (s->bdat.fault.n > 0)
		return false;
	if (over_size(s)) {
		smtpd_refuse_message(s, REFUSE_SIZE);
		s->refusal = REFUSE_SIZE;
	}
	return s->refusal == REFUSE_SIZE || s->refusal == REFUSE_FULL ||
	    s->refusal == REFUSE_ERROR;
}

static void
say_refused(struct smtpd_session *s)
{
	if (s->bdat.fault.n > 0)
		smtpd_say_str(s, s->bdat.fault);
	else
		smtpd_say_refusal(s);
}

/* The transaction, if there is one: a message is refused once. */
static void
fail(struct smtpd_session *s)
{
	if (s->txn == NULL || s->bdat.failed)
		return;
	s->bdat.failed = true;
	atomic_fetch_add(&s->gen->service->count.messages_refused, 1);
}

static void
chunk_over(struct smtpd_session *s)
{
	struct smtpd_bdat *b = &s->bdat;

	if (b->fault.n == 0 && b->last) {
		smtpd_receive_end(s);
		return;
	}
	if (b->fault.n > 0 || no_room(s)) {
		fail(s);
		say_refused(s);
	} else if (smtpd_in_time(s)) {
		smtpd_sayf(s, "250 2.0.0 %llu octets received", (unsigned long long)b->size);
	} else {
		return;
	}
	smtpd_next_command(s);
}

/* --- its octets --- */

static bool
dropped_too_much(struct smtpd_session *s, size_t n)
{
	if (s->bdat.fault.n == 0 && s->refusal == REFUSE_NOT)
		return false;
	s->dropped += n;
	return s->dropped > smtpd_drop_limit(s);
}

size_t
smtpd_input_chunk(struct smtpd_session *s, const char *p, size_t n)
{
	struct smtpd_bdat *b = &s->bdat;
	size_t used = n < b->left ? n : (size_t)b->left;

	if (smtpd_asks(s, bytes))
		smtpd_tell_content(s, p, used);
	if (b->fault.n > 0)
		s->raw += used;
	else
		smtpd_receive(s, p, used);
	b->left -= used;
	if (dropped_too_much(s, used)) {
		no_room(s);
		say_refused(s);
		smtpd_goodbye(s, "4.7.0", "Too many octets of refused chunks");
	} else if (b->left == 0) {
		chunk_over(s);
	} else if (b->fault.n > 0) {
		smtpd_in_time(s);
	} else {
		smtpd_pace(s);
	}
	return used;
}

/* --- its beginning --- */

static void
take_chunk(struct smtpd_session *s)
{
	struct smtpd_bdat *b = &s->bdat;

	if (!b->begun)
		smtpd_receive_begin(s, s->txn->flags & GA_MSG_BINARYMIME ? SCAN_BINARY :
		    SCAN_COUNTED);
	b->begun = true;
	if (over_size(s))
		smtpd_refuse_message(s, REFUSE_SIZE);
	if (++b->chunks > CHUNKS_FREE + s->raw / CHUNK_OCTETS)
		smtpd_goodbye(s, "4.7.0", "Too many small chunks");
	else if (b->size > 0)
		smtpd_pace(s);
}

static void
drop_chunk(struct smtpd_session *s)
{
	s->raw = 0;
	s->data_start_ms = ga_now_ms(s->w->loop);
	smtpd_in_time(s);
}

void
smtpd_cmd_bdat(struct smtpd_session *s, struct ga_str arg)
{
	struct smtpd_bdat *b = &s->bdat;

	if (!parse_chunk(arg, &b->size, &b->last)) {
		smtpd_say(s, "501 5.5.4 Syntax: BDAT size [LAST]");
		smtpd_lost_count(s);
		return;
	}
	b->left = b->size;
	b->fault = fault(s);
	smtpd_enter_state(s, S_CHUNK);
	if (b->fault.n > 0)
		drop_chunk(s);
	else
		take_chunk(s);
	if (b->size == 0 && s->state == S_CHUNK)
		chunk_over(s);
}

void
smtpd_lost_count(struct smtpd_session *s)
{
	smtpd_goodbye(s, "4.5.0", "Where the chunk ends is not known");
}
