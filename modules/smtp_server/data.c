/*
 * data.c - DATA: the message comes in, dot-stuffed.
 *
 * Called by command.c (DATA itself), then by io.c with all input until the end of
 * data, on the session's loop.  Of a message that is to be refused the octets are
 * dropped up to its real end, within a bound.
 */
#include "session.h"

size_t
smtpd_input_data(struct smtpd_session *s, const char *p, size_t n)
{
	size_t used = smtpd_receive(s, p, n);

	if (smtpd_asks(s, bytes))
		smtpd_tell_content(s, p, used);
	if (s->complete)
		smtpd_message_complete(s);
	else if (s->refusal != REFUSE_NOT && s->raw > smtpd_drop_limit(s))
		smtpd_goodbye(s, "4.7.0", "Message without end");
	else
		smtpd_pace(s);
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

struct ga_str
smtpd_no_message_now(const struct smtpd_session *s)
{
	if (s->txn == NULL)
		return GA_STR("503 5.5.1 MAIL first\r\n");
	if (s->txn->nrcpts == 0)
		return s->rcpt_refused > 0 ? GA_STR("554 5.5.1 No valid recipients\r\n") :
		    GA_STR("503 5.5.1 RCPT first\r\n");
	if (s->w->intake->room(0) != 0)
		return GA_STR("452 4.3.1 No room for mail now, try again later\r\n");
	return (struct ga_str){ "", 0 };
}

static struct ga_str
fault(const struct smtpd_session *s, struct ga_str arg)
{
	if (arg.n > 0)
		return GA_STR("501 5.5.4 DATA takes no argument\r\n");
	if (s->bdat.begun || s->bdat.failed)
		return GA_STR("503 5.5.1 The message comes by BDAT\r\n");
	if (s->txn != NULL && (s->txn->flags & GA_MSG_BINARYMIME))
		return GA_STR("503 5.5.1 BINARYMIME needs BDAT\r\n");
	return smtpd_no_message_now(s);
}

void
smtpd_cmd_data(struct smtpd_session *s, struct ga_str arg)
{
	struct ga_str why = fault(s, arg);

	if (why.n > 0) {
		smtpd_say_str(s, why);
		refuse_data(s);
		return;
	}
	smtpd_say(s, "354 End data with <CR><LF>.<CR><LF>");
	smtpd_receive_begin(s, SCAN_DOTTED);
	smtpd_enter_state(s, S_DATA);
	smtpd_deadline(s, s->gen->conf->smtpd_data_timeout);
}
