/*
 * smtp_user.h - the command that makes a line for smtp_users.
 */
#ifndef SMTPD_SMTP_USER_H
#define SMTPD_SMTP_USER_H

#include <greenarrow/ga_module.h>

/* `smtp_user [--crypt] [--mail-class=CLASS] NAME`: exit code. */
int smtpd_user_command(struct ga_inst *, int argc, char **argv);

#endif
