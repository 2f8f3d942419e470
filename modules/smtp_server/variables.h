/*
 * variables.h - what the variables of a session (ga_hook.h) mean to us.
 */
#ifndef SMTPD_VARIABLES_H
#define SMTPD_VARIABLES_H

#include "session.h"

/* Before connect is asked, each time: those that environment_file exports, and no others. */
void smtpd_variables_begin(struct smtpd_session *);

#endif
