/*
 * injection.h - header fields by which programs that inject mail steer it.  Level strict.
 *
 * Every way in (SMTP now; a mail program, a folder, HTTP) calls ga_injection_take()
 * once a message, behind the hooks on its content and before any of it goes to the
 * spool.  The fields become attributes of the message (message.h) and are taken out of
 * its header, so that no receiver sees them:
 *
 *   X-GreenArrow-MtaID              GA_ATTR_VIRTUAL_MTA        name or mta_id, 1-200 printable ASCII
 *   X-GreenArrow-MailClass          GA_ATTR_MAIL_CLASS         ga_mail_class_valid()
 *   X-GreenArrow-SendID             GA_ATTR_SEND_ID            1-300 printable ASCII
 *   X-GreenArrow-ListID             GA_ATTR_LIST_ID            1-20 letters, digits, _ and +
 *   X-GreenArrow-InstanceID         GA_ATTR_INSTANCE_ID        a digit, then at most 26 letters and
 *                                                              digits; or 1-300 printable ASCII that
 *                                                              begin with no digit
 *   X-GreenArrow-Click-Tracking-ID  GA_ATTR_CLICK_TRACKING_ID  1-300 printable ASCII
 *   x-virtual-mta                   GA_ATTR_VIRTUAL_MTA        as MtaID, which goes before it; only
 *                                                              with process_x_virtual_mta_header yes
 *
 * Names are compared without case; values are unfolded (RFC 5322 2.2.3), blanks around
 * them do not count, and a tab is a blank.  Of several fields of a name the first counts; an empty one says
 * nothing.  An attribute that the transaction has already stays, as the mail class that
 * an AUTH user has to have.
 *
 * It also sets GA_ATTR_FROM_ADDRESS and GA_ATTR_FROM_DOMAIN, which are nobody's choice: the From
 * field stays as it is.
 */
#ifndef GREENARROW_INJECTION_H
#define GREENARROW_INJECTION_H

#include <greenarrow/run.h>

GA_BEGIN

/*
 * Takes the fields out of t->body, whose first t->header_size octets are the whole header
 * as the client gave it (no trace field yet), and which nobody else holds.  What is behind
 * the header may be incomplete, with more to be appended later.  A body without such
 * fields is read once and not touched; else all other octets stay as they are.
 * Changes t->header_size; clears the bits GA_MSG_8BIT, GA_MSG_8BIT_HEADER and
 * GA_MSG_LONG_LINES of t->flags when only octets that were taken out had made them true.
 *
 * obey: the client may relay, so it may choose; the values go to t->attrs.  Otherwise they are
 * forgotten.  The setting of process_x_virtual_mta_header is that of t->settings.
 *
 * False (only with obey): a value breaks its rule; *field is the field's name (constant),
 * and t->attrs is as it was.  The message is to be refused, 550 5.6.0, rather than sent
 * without what it asked for.  On t's loop; never blocks.
 */
GA_EXPORT bool ga_injection_take(struct ga_txn *t, bool obey, struct ga_str *field);

/* 2 to 64 letters and _, without __.  Any thread. */
GA_EXPORT bool ga_mail_class_valid(struct ga_str);

GA_END

#endif
