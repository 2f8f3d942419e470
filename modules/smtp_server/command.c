/*
 * command.c - from octets to commands.
 *
 * Called by io.c in S_COMMAND, on the session's loop, with whatever has come; uses
 * one line at a time.  Only CR LF ends a line (with `bare_newlines normalize` a LF
 * too).  A line that is too long or has a stray CR, LF or control character is
 * refused and dropped to its CRLF, so that no part of it is ever taken for a
 * command; what is dropped is bounded too.
 *
 * Then the verb is looked up in the table below and its function, in cmd_*.c, is
 * called.  Each replies once, now or when a hook has answered.
 */
#include <string.h>

#include "auth.h"
#include "session.h"

struct command {
	struct ga_str verb;
	smtpd_command_fn *run;
	size_t line_max;		/* CRLF included */
	bool junk;			/* counts towards SMTPD_JUNK_MAX */
};

/* Commands that move nothing, since the last message; more count as errors. */
#define SMTPD_JUNK_MAX 100u

/* By frequency. MAIL: RFC 1870 adds 26, RFC 6152 17, RFC 3461 500, RFC 4954 500, RFC 6531 10,
 * RFC 8689 11 octets to its line, RFC 3461 500 to that of RCPT, RFC 6531 9 to that of VRFY. */
static const struct command commands[] = {
	{ GA_STR("RCPT"), smtpd_cmd_rcpt, SMTPD_LINE + 500, false },
	{ GA_STR("MAIL"), smtpd_cmd_mail, SMTPD_LINE + 26 + 17 + 500 + 500 + 10 + 11, false },
	{ GA_STR("DATA"), smtpd_cmd_data, SMTPD_LINE, false },
	{ GA_STR("BDAT"), smtpd_cmd_bdat, SMTPD_LINE, false },
	{ GA_STR("EHLO"), smtpd_cmd_ehlo, SMTPD_LINE, true },
	{ GA_STR("HELO"), smtpd_cmd_helo, SMTPD_LINE, true },
	{ GA_STR("QUIT"), smtpd_cmd_quit, SMTPD_LINE, false },
	{ GA_STR("RSET"), smtpd_cmd_rset, SMTPD_LINE, true },
	{ GA_STR("NOOP"), smtpd_cmd_noop, SMTPD_LINE, true },
	{ GA_STR("STARTTLS"), smtpd_cmd_starttls, SMTPD_LINE, true },
	{ GA_STR("AUTH"), smtpd_cmd_auth, SMTPD_AUTH_LINE, true },
	{ GA_STR("VRFY"), smtpd_cmd_vrfy, SMTPD_LINE + 9, true },
	{ GA_STR("HELP"), smtpd_cmd_help, SMTPD_LINE, true },
	{ GA_STR("XCLIENT"), smtpd_cmd_xclient, SMTPD_LINE_MAX, true },
	{ GA_STR("EXPN"), smtpd_cmd_unsupported, SMTPD_LINE, true },
	{ GA_STR("ETRN"), smtpd_cmd_unsupported, SMTPD_LINE, true },
	{ GA_STR("TURN"), smtpd_cmd_unsupported, SMTPD_LINE, true },
	{ GA_STR("SEND"), smtpd_cmd_unsupported, SMTPD_LINE, true },
	{ GA_STR("SOML"), smtpd_cmd_unsupported, SMTPD_LINE, true },
	{ GA_STR("SAML"), smtpd_cmd_unsupported, SMTPD_LINE, true },
	/* a web browser that was made to talk to us (cross-protocol attack): no answer */
	{ GA_STR("GET"), smtpd_cmd_http, SMTPD_LINE_MAX, false },
	{ GA_STR("POST"), smtpd_cmd_http, SMTPD_LINE_MAX, false },
	{ GA_STR("HEAD"), smtpd_cmd_http, SMTPD_LINE_MAX, false },
	{ GA_STR("PUT"), smtpd_cmd_http, SMTPD_LINE_MAX, false },
	{ GA_STR("DELETE"), smtpd_cmd_http, SMTPD_LINE_MAX, false },
	{ GA_STR("OPTIONS"), smtpd_cmd_http, SMTPD_LINE_MAX, false },
	{ GA_STR("CONNECT"), smtpd_cmd_http, SMTPD_LINE_MAX, false },
	{ GA_STR("TRACE"), smtpd_cmd_http, SMTPD_LINE_MAX, false },
	{ GA_STR("PATCH"), smtpd_cmd_http, SMTPD_LINE_MAX, false },
};

static const struct command *
find(struct ga_str verb)
{
	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
		if (commands[i].verb.n == verb.n && ga_str_caseeq(commands[i].verb, verb))
			return &commands[i];
	return NULL;
}

bool
smtpd_number(struct ga_str text, uint64_t *value)
{
	*value = 0;
	for (size_t i = 0; i < text.n; i++) {
		unsigned digit = (unsigned)(text.p[i] - '0');

		if (digit > 9)
			return false;
		if (*value > (UINT64_MAX - digit) / 10)
			*value = UINT64_MAX;
		else if (*value < UINT64_MAX)
			*value = *value * 10 + digit;
	}
	return text.n > 0;
}

static bool
has_control(struct ga_str line)
{
	for (size_t i = 0; i < line.n; i++)
		if ((unsigned char)line.p[i] < 0x20 || line.p[i] == 0x7f)
			return true;
	return false;
}

/* No command is made of this line.  If it was to be a BDAT, octets follow that are
 * no commands either. */
static void
refuse_line(struct smtpd_session *s, struct ga_str line, struct ga_str reply)
{
	smtpd_say_str(s, reply);
	if (line.n >= 4 && ga_str_caseeq((struct ga_str){ line.p, 4 }, GA_STR("BDAT")))
		smtpd_lost_count(s);
}

static void
run_command(struct smtpd_session *s, struct ga_str line)
{
	const char *blank = memchr(line.p, ' ', line.n);
	struct ga_str verb = { line.p, blank != NULL ? (size_t)(blank - line.p) : line.n };
	struct ga_str arg = ga_str_trim((struct ga_str){ line.p + verb.n, line.n - verb.n });
	const struct command *c = find(verb);
	char shown[SMTPD_SHOWN];

	if (smtpd_asks(s, line))
		smtpd_tell_line(s, GA_IN_CMD, smtpd_line_shown(s, line, c != NULL, shown), line);
	if (c != NULL)
		s->auth_tried = false;
	if (c != NULL && c->run != smtpd_cmd_http && smtpd_tls_missing(s, verb))
		smtpd_say(s, "530 5.7.0 Say STARTTLS first");
	else if (c == NULL)
		refuse_line(s, line, GA_STR("500 5.5.2 Command not recognized\r\n"));
	else if (line.n + 2 > c->line_max)
		refuse_line(s, line, GA_STR("500 5.5.2 Line too long\r\n"));
	else if (has_control(line))
		refuse_line(s, line, GA_STR("501 5.5.2 Control character in command\r\n"));
	else {
		if (c->junk && ++s->junk > SMTPD_JUNK_MAX)
			s->errors++;
		c->run(s, arg);
	}
}

/* --- lines that are refused and dropped --- */

static void
skip_line(struct smtpd_session *s)
{
	s->skip = true;
	s->skip_cr = false;
	s->skipped = 0;
}

/* Drops up to the CRLF. */
static size_t
skip_input(struct smtpd_session *s, const char *p, size_t n)
{
	size_t i;

	for (i = 0; i < n && s->skip; i++) {
		s->skip = !(s->skip_cr && p[i] == '\n');
		s->skip_cr = p[i] == '\r';
	}
	s->skipped += i;
	if (s->skip && s->skipped > SMTPD_SKIP_MAX)
		smtpd_goodbye(s, "4.7.0", "Line without end");
	return i;
}

/* Is this beginning of a line one of AUTH? */
static bool
of_auth(const struct smtpd_session *s, const char *p, size_t n)
{
	return s->state == S_AUTH || (n >= 5 && ga_str_caseeq((struct ga_str){ p, 5 }, GA_STR("AUTH ")));
}

static size_t
too_long(struct smtpd_session *s, const char *p, size_t n)
{
	if (of_auth(s, p, n)) {
		smtpd_auth_stop(s);
		smtpd_say(s, "500 5.5.6 Authentication exchange line is too long");
	} else {
		refuse_line(s, (struct ga_str){ p, n }, GA_STR("500 5.5.2 Line too long\r\n"));
	}
	if (s->state != S_COMMAND)
		return n;
	skip_line(s);
	return skip_input(s, p, n);
}

static void
count_errors(struct smtpd_session *s)
{
	if (s->state != S_DEAD && s->state != S_CLOSING &&
	    s->errors >= (uint64_t)s->gen->conf->max_errors)
		smtpd_goodbye(s, "4.7.0", "Too many errors");
}

/* p[0 .. used) is a line with its line end, `end` octets of it. */
static void
take_line(struct smtpd_session *s, const char *p, size_t used, size_t end)
{
	struct ga_str line = { p, used - end };
	bool secret = smtpd_line_secret(s, line, false);

	smtpd_deadline(s, s->gen->conf->smtpd_timeout);
	if (s->state == S_AUTH)
		smtpd_auth_line(s, line);
	else if (memchr(line.p, '\r', line.n) != NULL)
		refuse_line(s, line, GA_STR("500 5.5.2 Bare <CR> in command\r\n"));
	else
		run_command(s, line);
	/* the buffer is ours, and nobody needs the line any more */
	if (secret)
		explicit_bzero((void *)(uintptr_t)line.p, line.n);
}

size_t
smtpd_input_command(struct smtpd_session *s, const char *p, size_t n)
{
	const char *lf;
	size_t used, max;

	if (s->skip)
		return skip_input(s, p, n);
	max = of_auth(s, p, n) ? SMTPD_AUTH_LINE : SMTPD_LINE_MAX;
	lf = memchr(p, '\n', n < max ? n : max);
	if (lf == NULL && n < max)
		return 0;
	if (lf == NULL) {
		used = too_long(s, p, n);
	} else {
		used = (size_t)(lf - p) + 1;
		s->behind = n - used;
		if (used >= 2 && lf[-1] == '\r') {
			take_line(s, p, used, 2);
		} else if (s->gen->conf->bare_newlines == SMTPD_BARE_NORMALIZE) {
			take_line(s, p, used, 1);
		} else {
			bool auth = s->state == S_AUTH;

			smtpd_auth_stop(s);
			refuse_line(s, (struct ga_str){ p, auth ? 0 : used },
			    GA_STR("500 5.5.2 Bare <LF>: lines end with <CR><LF>\r\n"));
			skip_line(s);
		}
	}
	count_errors(s);
	return used;
}
