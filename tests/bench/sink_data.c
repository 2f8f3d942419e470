/*
 * sink_data.c - the content of a message as it arrives after 354.
 *
 * Called by sink_session.c with every piece of input while a session is in DATA.
 * Finds the end (CRLF.CRLF and nothing else), takes out stuffed dots, and keeps
 * the bytes: all of them for --dump, else the first 8 KiB, in which the id
 * header is looked for.  Owns the buffer of kept bytes, which is used again for
 * the next message of the session.
 *
 * A line is skipped with one memchr; the states are what came last before the
 * next byte.  A bare LF or CR is content like any other byte.
 */
#include "sink.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ID_HEADER "X-Bench-Id:"

void
sink_data_begin(struct sink_data *d, bool keep_all)
{
	d->state = DATA_LINE_START;
	d->size = 0;
	d->kept_len = 0;
	d->keep_all = keep_all;
}

void
sink_data_free(struct sink_data *d)
{
	free(d->kept);
	d->kept = NULL;
	d->kept_len = d->kept_cap = 0;
}

static void
keep(struct sink_data *d, const unsigned char *p, size_t n)
{
	d->size += n;
	if (!d->keep_all && d->kept_len + n > SINK_HEAD_KEPT)
		n = SINK_HEAD_KEPT - d->kept_len;
	if (!n)
		return;
	if (d->kept_len + n > d->kept_cap) {
		if (!d->kept_cap)
			d->kept_cap = SINK_HEAD_KEPT;
		while (d->kept_len + n > d->kept_cap)
			d->kept_cap *= 2;
		d->kept = realloc(d->kept, d->kept_cap);
		if (!d->kept)
			abort();
	}
	memcpy(d->kept + d->kept_len, p, n);
	d->kept_len += n;
}

/* The state after a byte that is not at the start of a line. */
static enum data_state
after(enum data_state state, unsigned char c)
{
	if (c == '\r')
		return DATA_CR;
	return state == DATA_CR && c == '\n' ? DATA_LINE_START : DATA_MID_LINE;
}

size_t
sink_data_feed(struct sink_data *d, const unsigned char *p, size_t n, bool *ended)
{
	size_t from = 0, i = 0;		/* from: first byte not yet kept */
	const unsigned char *cr;

	*ended = false;
	while (i < n) {
		unsigned char c = p[i];

		switch (d->state) {
		case DATA_LINE_START:
			if (c == '.') {
				keep(d, p + from, i - from);
				from = i + 1;
				d->state = DATA_DOT;
			} else {
				d->state = after(DATA_LINE_START, c);
			}
			break;
		case DATA_DOT:
			/* The dot is gone; a CR after it may be the end or content. */
			if (c == '\r') {
				keep(d, p + from, i - from);
				from = i + 1;
				d->state = DATA_DOT_CR;
			} else {
				d->state = DATA_MID_LINE;
			}
			break;
		case DATA_DOT_CR:
			if (c == '\n') {
				*ended = true;
				return i + 1;
			}
			keep(d, (const unsigned char *)"\r", 1);
			d->state = after(DATA_CR, c);
			break;
		case DATA_CR:
			d->state = after(DATA_CR, c);
			break;
		case DATA_MID_LINE:
			cr = memchr(p + i, '\r', n - i);
			i = cr ? (size_t)(cr - p) : n - 1;
			if (cr)
				d->state = DATA_CR;
			break;
		}
		i++;
	}
	keep(d, p + from, n - from);
	return n;
}

void
sink_data_id(const struct sink_data *d, char *id, size_t size)
{
	const char *at = (const char *)d->kept, *end = at + d->kept_len, *eol;
	size_t len = 0;

	while (at < end && *at != '\r' && (eol = memchr(at, '\n', (size_t)(end - at)))) {
		if ((size_t)(eol - at) > strlen(ID_HEADER) &&
		    !strncasecmp(at, ID_HEADER, strlen(ID_HEADER))) {
			for (at += strlen(ID_HEADER); *at == ' '; at++)
				;
			while (at + len < eol && at[len] != '\r' && len < size - 1)
				len++;
			memcpy(id, at, len);
			break;
		}
		at = eol + 1;
	}
	if (!len)
		id[len++] = '-';
	id[len] = '\0';
}
