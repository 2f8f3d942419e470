/*
 * reply.c - what the client is told.
 *
 * Called from every command, on the session's loop.  Replies gather in the worker's
 * buffer, so that a pipelined group is answered with one write; what the client
 * does not take goes into the session's own buffer (io.c).  Constant replies are
 * copied, not formatted: they are the hot path.
 *
 * A 5yz counts towards max_errors.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "session.h"

static void
put_out(struct smtpd_session *s, struct ga_str text)
{
	struct smtpd_worker *w = s->w;

	if (text.n > sizeof w->out - w->nout)
		smtpd_flush(s);
	if (text.n > sizeof w->out - w->nout)
		return;		/* longer than any reply of ours can be */
	memcpy(w->out + w->nout, text.p, text.n);
	w->nout += text.n;
}

/* Each line of a reply to those who log them. */
static void
tell_lines(struct smtpd_session *s, struct ga_str text)
{
	while (text.n > 0) {
		const char *lf = memchr(text.p, '\n', text.n);
		size_t n = lf != NULL ? (size_t)(lf - text.p) + 1 : text.n;

		struct ga_str line = { text.p, n >= 2 ? n - 2 : 0 };

		smtpd_tell_line(s, GA_IN_REPLY, line, line);
		text.p += n;
		text.n -= n;
	}
}

void
smtpd_say_secret(struct smtpd_session *s, struct ga_str text, struct ga_str shown)
{
	if (s->state == S_DEAD || s->stream == NULL)
		return;
	if (text.p[0] == '5')
		s->errors++;
	if (smtpd_asks(s, line) && shown.p == text.p)
		tell_lines(s, text);
	else if (smtpd_asks(s, line))
		smtpd_tell_line(s, GA_IN_REPLY, (struct ga_str){ shown.p, shown.n - 2 },
		    (struct ga_str){ text.p, text.n - 2 });
	put_out(s, text);
}

void
smtpd_say_str(struct smtpd_session *s, struct ga_str text)
{
	smtpd_say_secret(s, text, text);
}

void
smtpd_sayf(struct smtpd_session *s, const char *fmt, ...)
{
	char buf[SMTPD_REPLY_MAX + 1];
	size_t n;
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(buf, sizeof buf - 2, fmt, ap);
	va_end(ap);
	if (len < 0)
		return;
	n = (size_t)len < sizeof buf - 3 ? (size_t)len : sizeof buf - 3;
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)buf[i] < 0x20 || (unsigned char)buf[i] >= 0x7f)
			buf[i] = '?';
	buf[n++] = '\r';
	buf[n++] = '\n';
	smtpd_say_str(s, (struct ga_str){ buf, n });
}

void
smtpd_goodbye(struct smtpd_session *s, const char *enhanced, const char *text)
{
	smtpd_sayf(s, "421 %s %s %s", enhanced, ga_hostname(), text);
	s->over = text;
	smtpd_close(s, true);
}

/* A module's code must fit its verdict, or the client would be told the opposite. */
void
smtpd_say_reply(struct smtpd_session *s, const struct ga_reply *r, enum ga_verdict v)
{
	unsigned class = v == GA_REJECT ? 5 : 4;
	unsigned code = r->code;
	const char *enhanced = r->enhanced, *text = r->text;

	if (code / 100 != class) {
		code = class == 5 ? 550 : 451;
		enhanced = "";
	}
	if ((unsigned)(enhanced[0] - '0') != class)
		enhanced = class == 5 ? "5.7.1" : "4.7.1";
	if (r->code == 0 || text[0] == '\0')
		text = class == 5 ? "Refused" : "Try again later";
	smtpd_sayf(s, "%u %s %s", code, enhanced, text);
}
