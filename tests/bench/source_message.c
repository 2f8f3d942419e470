/*
 * source_message.c - the messages that ga_smtp_source sends, and their envelopes.
 *
 * The content is made once: a generated body of the wished size, or a file of
 * the user's.  It is stored dot-stuffed and with its end, so that sending it is
 * a copy.  Only the head (the header lines with the id) differs by message; its
 * length does not, so SIZE= is the same for all.
 *
 * Called by source.c at start and by source_session.c for each message.
 */
#include "source.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LINE_LEN 76

static const char filler[] =
	"The quick brown fox jumps over the lazy dog and counts 0123456789 sheep. ";

void
src_id(const struct source *s, uint64_t seq, char *id)
{
	snprintf(id, SRC_ID_MAX, "%s-%010" PRIu64, s->opt.run_id, seq);
}

size_t
src_head(const struct source *s, uint64_t seq, char *buf)
{
	char id[SRC_ID_MAX];
	int n;

	src_id(s, seq, id);
	if (s->content.own_header)
		n = snprintf(buf, SRC_HEAD_MAX, "X-Bench-Id: %s\r\n", id);
	else
		n = snprintf(buf, SRC_HEAD_MAX, "X-Bench-Id: %s\r\nMessage-ID: <%s@source.test>\r\n",
			id, id);
	return (size_t)n;
}

/* Copy with CRLF line ends and stuffed dots; ends with CRLF.CRLF. */
static void
set_rest(struct src_content *c, const char *text, size_t len)
{
	char *out = malloc(len * 2 + 8), *at = out, last = '\n';
	size_t stuffed = 0;

	if (!out)
		abort();
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\n' && last != '\r')
			*at++ = '\r';
		if (text[i] == '.' && last == '\n') {
			*at++ = '.';
			stuffed++;
		}
		if ((unsigned char)text[i] >= 0x80)
			c->eight_bit = true;
		*at++ = last = text[i];
	}
	if (last != '\n') {
		*at++ = '\r';
		*at++ = '\n';
	}
	memcpy(at, ".\r\n", 3);
	c->rest = out;
	c->rest_len = (size_t)(at - out) + 3;
	c->size = (size_t)(at - out) - stuffed;
}

static void
generate(struct source *s, size_t head)
{
	static const char header[] =
		"From: Load generator <bench@source.test>\nTo: undisclosed-recipients:;\n"
		"Date: Thu, 1 Jan 2026 12:00:00 +0000\nSubject: Message of a benchmark\n"
		"MIME-Version: 1.0\nContent-Type: text/plain; charset=us-ascii\n\n";
	size_t header_wire = strlen(header), size = 0, len;
	char *text;

	/* LF becomes CRLF on the wire, and counts there. */
	for (const char *p = header; *p; p++)
		header_wire += *p == '\n';
	if (s->opt.size > head + header_wire)
		size = s->opt.size - head - header_wire;
	text = malloc(strlen(header) + size + 1);
	if (!text)
		abort();
	strcpy(text, header);
	len = strlen(header);
	for (size_t wire = 0, col = 0; wire + 2 < size; wire++) {
		text[len++] = filler[wire % (sizeof filler - 1)];
		if (++col == LINE_LEN && wire + 5 < size) {
			text[len++] = '\n';
			wire += 2;
			col = 0;
		}
	}
	if (text[len - 1] != '\n')
		text[len++] = '\n';
	set_rest(&s->content, text, len);
	free(text);
}

static void
cannot_read(const char *path)
{
	fprintf(stderr, "ga_smtp_source: %s: %s\n", path, strerror(errno));
	exit(1);
}

static void
read_message(struct source *s)
{
	FILE *f = fopen(s->opt.message_file, "r");
	char *text;
	long len;

	if (!f || fseek(f, 0, SEEK_END) < 0 || (len = ftell(f)) < 0)
		cannot_read(s->opt.message_file);
	rewind(f);
	text = malloc((size_t)len + 1);
	if (!text)
		abort();
	if (fread(text, 1, (size_t)len, f) != (size_t)len)
		cannot_read(s->opt.message_file);
	fclose(f);
	set_rest(&s->content, text, (size_t)len);
	free(text);
}

void
src_content_make(struct source *s)
{
	char head[SRC_HEAD_MAX];
	size_t head_len;

	s->content.own_header = s->opt.message_file != NULL;
	head_len = src_head(s, 0, head);
	if (s->opt.message_file)
		read_message(s);
	else
		generate(s, head_len);
	s->content.size += head_len;
}

/* What a % of a pattern stands for; "" for a letter without meaning. */
static void
expand(const struct source *s, char what, uint64_t seq, uint64_t rcpt, char *buf, size_t size)
{
	uint64_t domain = (seq * s->opt.recipients + rcpt) % s->domains;

	*buf = '\0';
	if (what == 'n')
		snprintf(buf, size, "%" PRIu64, seq);
	else if (what == 'r')
		snprintf(buf, size, "%" PRIu64, rcpt);
	else if (what == 'd' && s->domain)
		snprintf(buf, size, "%s", s->domain[domain]);
	else if (what == 'd')
		snprintf(buf, size, "%" PRIu64, domain);
	else if (what == '%')
		strcpy(buf, "%");
}

size_t
src_command(const struct source *s, const char *verb, const char *pattern, uint64_t seq,
	uint64_t rcpt, char *buf, size_t size)
{
	size_t n = (size_t)snprintf(buf, size, "%s:<", verb);

	for (; *pattern && n + 2 < size; pattern++) {
		if (*pattern == '%' && pattern[1]) {
			expand(s, *++pattern, seq, rcpt, buf + n, size - n - 1);
			n += strlen(buf + n);
		} else {
			buf[n++] = *pattern;
		}
	}
	buf[n++] = '>';
	buf[n] = '\0';
	return n;
}
