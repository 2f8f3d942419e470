/*
 * stuff.c - dot-stuffing in one pass, without copying.
 *
 * Called by body.c for every chunk of a message that is sent.  Pure; holds no
 * memory.  A message is scanned line by line with memchr; most have no line that
 * begins with a dot and leave as one iovec a chunk.  The same scan refuses what
 * must never reach a receiver (bare CR, bare LF, NUL): the spool holds no such
 * octets, so this is the second lock on that door, also for what modules put in.
 */
#include "stuff.h"

#include <string.h>

static void
put(struct iovec *v, int *nv, const char *p, size_t n)
{
	v[*nv].iov_base = (void *)(size_t)p;
	v[*nv].iov_len = n;
	++*nv;
}

/* The line that begins at or goes on at p[i]: the offset behind what was seen of it. */
static size_t
scan_line(struct smtpc_stuff *s, const char *p, size_t i, size_t n)
{
	const char *cr = memchr(p + i, '\r', n - i);
	size_t end = cr != NULL ? (size_t)(cr - p) : n;

	if (memchr(p + i, '\n', end - i) != NULL) {
		s->dirty = true;
		return i;
	}
	if (cr == NULL)
		return n;
	if (end + 1 == n) {
		s->cr = true;
		return n;
	}
	if (p[end + 1] != '\n') {
		s->dirty = true;
		return i;
	}
	s->mid_line = false;
	return end + 2;
}

size_t
smtpc_stuff(struct smtpc_stuff *s, const char *p, size_t n, struct iovec *v, int room, int *nv)
{
	size_t i = 0, run = 0;

	if (n == 0 || s->dirty || *nv >= room)
		return 0;
	if (s->binary) {
		put(v, nv, p, n);
		return n;
	}
	if (s->cr) {
		if (p[0] != '\n') {
			s->dirty = true;
			return 0;
		}
		s->cr = s->mid_line = false;
		i = 1;
	}
	while (i < n && !s->dirty) {
		if (!s->raw && !s->mid_line && p[i] == '.') {
			/* what is before, the dot, and one for what follows */
			if (*nv + (i > run) + 2 > room)
				break;
			if (i > run)
				put(v, nv, p + run, i - run);
			put(v, nv, ".", 1);
			run = i;
		}
		s->mid_line = true;
		i = scan_line(s, p, i, n);
	}
	if (memchr(p, '\0', i) != NULL)
		s->dirty = true;
	if (i > run)
		put(v, nv, p + run, i - run);
	return i;
}

bool
smtpc_stuff_end(struct smtpc_stuff *s, struct iovec *v, int *nv)
{
	if (s->cr)
		s->dirty = true;
	if (s->dirty)
		return false;
	if (s->mid_line)
		put(v, nv, "\r\n.\r\n", 5);
	else
		put(v, nv, ".\r\n", 3);
	return true;
}
