/*
 * io.c - octets in and out of a session.
 *
 * Called by the loop (smtpd_ready) and by session.c.  Input is read into the
 * worker's buffer and processed there; only what cannot be processed yet (a line
 * not yet whole, commands behind one that waits) is kept in the session, so that
 * ten thousand idle sessions need no buffers.  Output likewise.  At most
 * SMTPD_IN_ROOM octets are kept of a client that sends while it should wait, and
 * about SMTPD_OUT_MAX for one that does not read: then we stop reading as well.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proxy.h"

typedef size_t input_fn(struct smtpd_session *, const char *, size_t);

/* A client that goes on talking after its session ended is heard for so long only. */
static size_t
drop_input(struct smtpd_session *s, const char *p, size_t n)
{
	s->skipped += n;
	if (s->skipped > SMTPD_LINGER_MAX)
		s->eof = true;
	return n;
}

/* What input means in each state; NULL: it waits. */
static input_fn *const input_of[S_COUNT_] = {
	[S_COMMAND] = smtpd_input_command,
	[S_AUTH] = smtpd_input_command,
	[S_DATA] = smtpd_input_data,
	[S_CHUNK] = smtpd_input_chunk,
	[S_CLOSING] = drop_input,
	[S_LINGER] = drop_input,
	[S_DEAD] = drop_input,
};

/* What is kept may be a password: no copy of it stays behind. */
static void
wipe(char *buf, size_t n)
{
	if (buf != NULL)
		explicit_bzero(buf, n);
	free(buf);
}

static void
keep(char **buf, size_t *n, size_t *room, const char *p, size_t add)
{
	if (add == 0)
		return;
	if (*n + add > *room) {
		char *old = *buf;

		*room = *n + add < 256 ? 256 : *n + add;
		*buf = ga_xmalloc(*room);
		if (old != NULL)
			memcpy(*buf, old, *n);
		wipe(old, *n);
	}
	memcpy(*buf + *n, p, add);
	*n += add;
}

static void
forget(char **buf, size_t *n, size_t *room)
{
	wipe(*buf, *n);
	*buf = NULL;
	*n = *room = 0;
}

/* --- out --- */

/* Octets the stream took; an error ends the session. */
static size_t
write_out(struct smtpd_session *s, const char *p, size_t n)
{
	struct iovec v = { .iov_base = (void *)(uintptr_t)p, .iov_len = n };
	ssize_t r;

	if (n == 0 || s->stream == NULL)
		return n;
	r = ga_stream_writev(s->stream, &v, 1);
	if (r >= 0)
		return (size_t)r;
	if (r != -EAGAIN) {
		smtpd_abort(s);
		return n;
	}
	return 0;
}

void
smtpd_flush(struct smtpd_session *s)
{
	struct smtpd_worker *w = s->w;
	size_t n = w->nout, done;

	w->nout = 0;
	if (s->nout > 0) {
		keep(&s->out, &s->nout, &s->out_room, w->out, n);
		done = write_out(s, s->out, s->nout);
		s->nout -= done;
		memmove(s->out, s->out + done, s->nout);
		if (s->nout == 0)
			forget(&s->out, &s->nout, &s->out_room);
	} else {
		done = write_out(s, w->out, n);
		keep(&s->out, &s->nout, &s->out_room, w->out + done, n - done);
	}
}

/* --- in --- */

static size_t
process(struct smtpd_session *s, const char *p, size_t n)
{
	size_t used, all = 0;

	while (n > 0 && input_of[s->state] != NULL) {
		if (s->nout > SMTPD_OUT_MAX) {
			s->blocked = true;
			break;
		}
		used = input_of[s->state](s, p, n);
		if (used == 0)
			break;
		p += used;
		n -= used;
		all += used;
	}
	return all;
}

void
smtpd_resume_input(struct smtpd_session *s)
{
	char *buf = s->in;
	size_t n = s->nin, used;

	if (n == 0)
		return;
	s->in = NULL;
	s->nin = s->in_room = 0;
	used = process(s, buf, n);
	keep(&s->in, &s->nin, &s->in_room, buf + used, n - used);
	wipe(buf, n);
}

/* The client has read enough of its replies to get more. */
void
smtpd_unblock(struct smtpd_session *s)
{
	while (s->blocked && s->nout <= SMTPD_OUT_MAX && s->state != S_DEAD) {
		s->blocked = false;
		smtpd_resume_input(s);
		smtpd_flush(s);
	}
}

/* Nothing may be processed now: what comes is kept, for as long as there is room. */
static ssize_t
read_ahead(struct smtpd_session *s)
{
	ssize_t r = ga_stream_read(s->stream, s->w->in, SMTPD_IN_ROOM - s->nin);

	if (r > 0)
		keep(&s->in, &s->nin, &s->in_room, s->w->in, (size_t)r);
	explicit_bzero(s->w->in, r > 0 ? (size_t)r : 0);
	return r;
}

static ssize_t
read_and_process(struct smtpd_session *s)
{
	char *buf = s->w->in;
	size_t had = s->nin, n, used;
	ssize_t r;

	assert(had <= sizeof s->w->in - SMTPD_IN_ROOM);
	r = ga_stream_read(s->stream, buf + had, SMTPD_IN_ROOM);
	if (r <= 0)
		return r;
	if (had > 0)
		memcpy(buf, s->in, had);
	forget(&s->in, &s->nin, &s->in_room);
	n = had + (size_t)r;
	used = process(s, buf, n);
	keep(&s->in, &s->nin, &s->in_room, buf + used, n - used);
	explicit_bzero(buf + used, n - used);
	return r;
}

static void
read_input(struct smtpd_session *s)
{
	bool may = input_of[s->state] != NULL && !s->blocked;
	ssize_t r;

	if (s->state == S_PROXY) {
		smtpd_proxy_read(s);
		return;
	}
	if (!may && s->nin >= SMTPD_IN_ROOM)
		return;
	r = may ? read_and_process(s) : read_ahead(s);
	if (r == 0)
		s->eof = true;
	else if (r < 0 && r != -EAGAIN)
		smtpd_abort(s);
}

void
smtpd_ready(struct ga_stream *stream, unsigned events, void *arg)
{
	struct smtpd_session *s = arg;

	smtpd_enter(s);
	if (events & GA_WRITE)
		smtpd_flush(s);
	smtpd_unblock(s);
	if ((events & GA_READ) && s->state != S_DEAD)
		read_input(s);
	smtpd_leave(s);
}

static unsigned
wanted(const struct smtpd_session *s)
{
	unsigned events = s->nout > 0 ? GA_WRITE : 0;

	switch (s->state) {
	case S_TLS:
	case S_HELD:
	case S_CLOSING:
	case S_DEAD:
	case S_COUNT_:
		return events;
	case S_LINGER:
		return s->eof ? 0 : GA_READ;
	case S_COMMAND:
	case S_AUTH:
	case S_DATA:
	case S_CHUNK:
		return s->eof || s->blocked ? events : events | GA_READ;
	case S_PROXY:
	case S_GREETING:
	case S_ASK:
	case S_VERIFY:
	case S_CONTENT:
	case S_COMMIT:
		break;
	}
	return s->eof || s->nin >= SMTPD_IN_ROOM ? events : events | GA_READ;
}

void
smtpd_update_want(struct smtpd_session *s)
{
	unsigned events = wanted(s);

	if (events == s->want)
		return;
	s->want = events;
	ga_stream_want(s->stream, events);
}
