/*
 * scan.c - one pass over message text as it arrives.
 *
 * Called by receive.c on the session's loop for every octet of mail that enters the
 * system, so the common case (CRLF lines that begin with no dot) is two memchr()
 * a line and one emit() a call.  Pure; owns nothing; cut anywhere.
 *
 * Only CR LF ends a line, and only CR LF . CR LF ends a message: nothing else may
 * ever be taken for it, or a body could carry a second transaction (SMTP
 * smuggling).  CR LF alone at the very beginning counts as after a line end.
 * A CR or LF alone is noted and, with `normalize`, given out as CRLF: a line start
 * for dot-stuffing, but never for the end of data.
 *
 * Of counted text (BDAT) the same is found, but for dots and an end.  Of a binary
 * message the header is text like any other; what follows its empty line goes
 * through unseen.
 */
#include <string.h>

#include "scan.h"

static const char received[] = "received:";
#define RECEIVED_LEN (sizeof received - 1)
#define NAME_OTHER UINT32_MAX

void
smtpd_scan_init(struct smtpd_scan *s, enum smtpd_scan_how how, bool normalize,
    smtpd_emit_fn *emit, void *arg)
{
	memset(s, 0, sizeof *s);
	s->how = how;
	s->normalize = normalize;
	s->emit = emit;
	s->arg = arg;
	s->at = SCAN_LINE;
	s->in_header = true;
}

static void
give(struct smtpd_scan *s, const char *p, size_t n)
{
	if (n == 0)
		return;
	s->size += n;
	s->emit(s->arg, p, n);
}

/* Looks for NUL and octets above 127, eight at a time. */
static void
find_octets(const char *p, size_t n, bool *nul, bool *eightbit)
{
	const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
	uint64_t any = 0, zero = 0, w;

	for (; n >= sizeof w; p += sizeof w, n -= sizeof w) {
		memcpy(&w, p, sizeof w);
		any |= w;
		zero |= (w - ones) & ~w;
	}
	if (n > 0) {
		w = 0x2020202020202020u;
		memcpy(&w, p, n);
		any |= w;
		zero |= (w - ones) & ~w;
	}
	if (any & high)
		*eightbit = true;
	if (zero & high)
		*nul = true;
}

/* The first octets of a header line: is it a Received field? */
static void
match_name(struct smtpd_scan *s, const char *p, size_t n)
{
	while (n-- > 0 && s->name_len < RECEIVED_LEN) {
		char c = *p++;

		if (c >= 'A' && c <= 'Z')
			c = (char)(c - 'A' + 'a');
		if (c != received[s->name_len]) {
			s->name_len = NAME_OTHER;
			return;
		}
		if (++s->name_len == RECEIVED_LEN)
			s->received++;
	}
}

/* n octets of a line go by. */
static void
in_line(struct smtpd_scan *s, const char *p, size_t n)
{
	bool nul;

	if (s->in_header && s->name_len < RECEIVED_LEN)
		match_name(s, p, n);
	if (s->in_header && !s->eightbit_header)
		find_octets(p, n, &nul, &s->eightbit_header);
	s->line_len += n;
}

/* A line is over; size_now: octets given out when its line end is. */
static void
end_line(struct smtpd_scan *s, uint64_t size_now)
{
	if (s->line_len > SMTPD_TEXT_LINE)
		s->long_line = true;
	if (s->in_header && s->line_len == 0) {
		s->in_header = false;
		s->header_size = size_now;
	}
	s->line_len = 0;
	s->name_len = 0;
}

static void
soft_end(struct smtpd_scan *s)
{
	if (s->normalize) {
		give(s, "\r\n", 2);
		end_line(s, s->size);
	}
	s->at = SCAN_SOFT;
}

/*
 * Text from p[i] on: up to the end of its line, a stray CR or LF, or n.  run is
 * where the octets not yet given out begin.  Returns the next i.
 */
static size_t
scan_text(struct smtpd_scan *s, const char *p, size_t i, size_t n, size_t *run)
{
	const char *lf = memchr(p + i, '\n', n - i);
	size_t end = lf != NULL ? (size_t)(lf - p) : n;
	const char *cr = memchr(p + i, '\r', end - i);
	size_t stop = cr != NULL ? (size_t)(cr - p) : end;

	in_line(s, p + i, stop - i);
	if (cr != NULL && lf != NULL && cr + 1 == lf) {
		s->at = SCAN_LINE;
		end_line(s, s->size + (end + 1 - *run));
		return end + 1;
	}
	if (cr == NULL && lf == NULL)
		return n;
	give(s, p + *run, stop - *run);
	*run = stop + 1;
	if (cr != NULL && stop + 1 == n) {
		s->at = SCAN_CR;
		return n;
	}
	if (cr != NULL)
		s->bare_cr = true;
	else
		s->bare_lf = true;
	soft_end(s);
	return stop + 1;
}

/* The octet after a CR that ended the previous input. Returns the next i. */
static size_t
scan_cr(struct smtpd_scan *s, const char *p, size_t i, size_t *run)
{
	if (p[i] != '\n') {
		s->bare_cr = true;
		soft_end(s);
		*run = i;
		return i;
	}
	give(s, "\r\n", 2);
	end_line(s, s->size);
	s->at = SCAN_LINE;
	*run = i + 1;
	return i + 1;
}

static size_t
scan_dot_cr(struct smtpd_scan *s, const char *p, size_t i, size_t *run, bool *end)
{
	if (p[i] == '\n') {
		*end = true;
		*run = i + 1;
		return i + 1;
	}
	s->bare_cr = true;
	soft_end(s);
	*run = i;
	return i;
}

/* The first octet of a line, hard or soft: takes a dot out. */
static size_t
scan_line_start(struct smtpd_scan *s, const char *p, size_t i, size_t *run)
{
	bool soft = s->at == SCAN_SOFT;

	if (p[i] != '.' || s->how != SCAN_DOTTED) {
		s->at = SCAN_TEXT;
		return i;
	}
	give(s, p + *run, i - *run);
	*run = i + 1;
	s->at = soft ? SCAN_SOFT_DOT : SCAN_DOT;
	return i + 1;
}

static size_t
scan_dot(struct smtpd_scan *s, const char *p, size_t i, size_t *run)
{
	*run = i;
	s->at = SCAN_TEXT;
	if (p[i] == '\r') {
		s->at = SCAN_DOT_CR;
		*run = i + 1;
		return i + 1;
	}
	return i;
}

/* A dot alone on a line that began softly is text, or it would be lost. */
static size_t
scan_soft_dot(struct smtpd_scan *s, const char *p, size_t i, size_t *run)
{
	*run = i;
	s->at = SCAN_TEXT;
	if (p[i] == '\r' || p[i] == '\n') {
		give(s, ".", 1);
		s->line_len++;
		s->name_len = NAME_OTHER;
	}
	return i;
}

/* The body of a binary message: octets, whatever they are. */
static bool
in_binary(const struct smtpd_scan *s)
{
	return s->how == SCAN_BINARY && !s->in_header;
}

static void
pass_binary(struct smtpd_scan *s, const char *p, size_t n)
{
	bool nul;

	give(s, p, n);
	find_octets(p, n, &nul, &s->eightbit);
}

size_t
smtpd_scan_feed(struct smtpd_scan *s, const char *p, size_t n, bool *end)
{
	size_t i = 0, run = 0;

	*end = false;
	while (i < n && !*end && !in_binary(s)) {
		switch (s->at) {
		case SCAN_LINE:
		case SCAN_SOFT:
			i = scan_line_start(s, p, i, &run);
			break;
		case SCAN_DOT:
			i = scan_dot(s, p, i, &run);
			break;
		case SCAN_DOT_CR:
			i = scan_dot_cr(s, p, i, &run, end);
			break;
		case SCAN_TEXT:
			i = scan_text(s, p, i, n, &run);
			break;
		case SCAN_CR:
			i = scan_cr(s, p, i, &run);
			break;
		case SCAN_SOFT_DOT:
			i = scan_soft_dot(s, p, i, &run);
			break;
		}
	}
	give(s, p + run, i - run);
	find_octets(p, i, &s->nul, &s->eightbit);
	if (*end && s->in_header)
		s->header_size = s->size;
	if (i < n && in_binary(s)) {
		pass_binary(s, p + i, n - i);
		i = n;
	}
	return i;
}

void
smtpd_scan_end(struct smtpd_scan *s)
{
	if (s->at == SCAN_CR) {
		s->bare_cr = true;
		soft_end(s);
	}
	if (in_binary(s))
		return;
	if (s->in_header && s->line_len > 0)
		give(s, "\r\n", 2);
	if (s->line_len > SMTPD_TEXT_LINE)
		s->long_line = true;
	if (s->in_header)
		s->header_size = s->size;
}
