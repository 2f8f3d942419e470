/*
 * switch.h - one smtp_service down, up or read anew without a reload: the provider of
 * "smtp_services" (its contract: greenarrow/service/smtp_services.h).
 */
#ifndef SMTPD_SWITCH_H
#define SMTPD_SWITCH_H

#include "service.h"

/* Main thread, once.  list: where the services are, also those that come later. */
void smtpd_switch_init(struct ga_inst *, struct smtpd_service **list, ga_accept_fn *accepted,
    ga_accept_fn *accepted_tls);
/* When no loop runs any more. */
void smtpd_switch_fini(void);
/* A configuration has come into force.  Any loop, any number of times. */
void smtpd_switch_changed(void);
/* "up", "down" or "disabled".  Main loop. */
const char *smtpd_switch_word(struct smtpd_service *);

#endif
