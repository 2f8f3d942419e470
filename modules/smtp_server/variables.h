/*
 * variables.h - what the variables of a session (ga_hook.h) mean to us.
 */
#ifndef SMTPD_VARIABLES_H
#define SMTPD_VARIABLES_H

#include "session.h"

/* Before connect is asked, each time: those that environment_file exports, and no others. */
void smtpd_variables_begin(struct smtpd_session *);
/* Behind connect: whether it may relay (RELAYCLIENT), how large its messages may be (DATABYTES). */
void smtpd_variables_obey(struct smtpd_session *);
/* Before connect is asked: may it be that a client's variables let it relay? */
bool smtpd_variables_may_relay(const struct smtpd_gen *);
bool smtpd_variables_relay(const struct smtpd_session *);

/* RELAYCLIENT: the address with what its value appends, or as it is. */
struct ga_str smtpd_variables_address(const struct smtpd_session *, struct ga_pool *, struct ga_str address);
/* GREENARROW_MAILCLASS: of the message, where nobody has chosen another. */
void smtpd_variables_mark(const struct smtpd_session *, struct ga_attrs *);
/* GREENARROW_SMTP_RECEIVED_HIDE: our Received field does not tell who the client is. */
bool smtpd_variables_hide(const struct smtpd_session *);

#endif
