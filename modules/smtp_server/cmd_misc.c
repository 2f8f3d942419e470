/*
 * cmd_misc.c - commands that need a line or two: RSET NOOP QUIT VRFY HELP, those
 * that we know and do not do, and those that are not SMTP at all.
 *
 * Called by command.c.
 */
#include "params.h"

void
smtpd_cmd_rset(struct smtpd_session *s, struct ga_str arg)
{
	if (arg.n > 0) {
		smtpd_say(s, "501 5.5.4 RSET takes no argument");
		return;
	}
	smtpd_reset(s, GA_END_ABORTED);
	smtpd_say(s, "250 2.0.0 OK");
}

void
smtpd_cmd_noop(struct smtpd_session *s, struct ga_str arg)
{
	smtpd_say(s, "250 2.0.0 OK");
}

void
smtpd_cmd_quit(struct smtpd_session *s, struct ga_str arg)
{
	if (arg.n > 0) {
		smtpd_say(s, "501 5.5.4 QUIT takes no argument");
		return;
	}
	smtpd_say(s, "221 2.0.0 Bye");
	s->over = "quit";
	smtpd_close(s, false);
}

/* "VRFY string SMTPUTF8" (RFC 6531 3.7.4.2); false: the word is not there. */
static bool
takes_utf8(const struct smtpd_session *s, struct ga_str *arg)
{
	const struct ga_str word = GA_STR(" SMTPUTF8");
	size_t n = arg->n > word.n ? arg->n - word.n : 0;

	if (!s->esmtp || n == 0 || !ga_str_caseeq((struct ga_str){ arg->p + n, word.n }, word))
		return false;
	arg->n = n;
	return true;
}

/* To say more would tell address collectors who is here. */
void
smtpd_cmd_vrfy(struct smtpd_session *s, struct ga_str arg)
{
	bool utf8 = takes_utf8(s, &arg);

	if (arg.n == 0)
		smtpd_say(s, "501 5.5.4 Syntax: VRFY address");
	else if (!ga_utf8_valid(arg))
		smtpd_say(s, "501 5.5.4 Address is not UTF-8");
	else if (!utf8 && !smtpd_is_ascii(arg))
		smtpd_say(s, "553 5.6.7 Address is not ASCII, and SMTPUTF8 was not said");
	else
		smtpd_say(s, "252 2.5.0 Cannot verify, but will take mail and try to deliver it");
}

void
smtpd_cmd_help(struct smtpd_session *s, struct ga_str arg)
{
	smtpd_say(s, "214 2.0.0 HELO EHLO MAIL RCPT DATA BDAT RSET NOOP QUIT VRFY HELP STARTTLS AUTH");
}

void
smtpd_cmd_unsupported(struct smtpd_session *s, struct ga_str arg)
{
	smtpd_say(s, "502 5.5.1 Command not implemented");
}

void
smtpd_cmd_http(struct smtpd_session *s, struct ga_str arg)
{
	smtpd_flush(s);		/* what was said before */
	smtpd_abort(s);
}
