/*
 * wish.h - what the octets in a control FIFO ask for.
 *
 * supervise obeys each octet as it comes; a listener is restarted on another thread, so
 * octets that come meanwhile are folded into one wish of constant size.
 */
#ifndef SVC_WISH_H
#define SVC_WISH_H

#include <stdbool.h>

struct svc_wish {
	bool up;			/* it is to listen */
	bool once;			/* ... until it is ended: -o */
	bool anew;			/* what listens now is to begin anew: -t, or -d and -u */
	bool reload;			/* -h */
};

/* Takes one octet.  False: it means nothing to a listener. */
bool svc_wish_take(struct svc_wish *, char octet);

enum svc_step { SVC_REST, SVC_RESTART, SVC_UP, SVC_DOWN };
/* What to do next for the wish to come true.  up: it is not down now. */
enum svc_step svc_wish_step(const struct svc_wish *, bool up);

/* As supervise writes it into its status: 'u', 'd', or NUL for once. */
char svc_wish_want(const struct svc_wish *);

#endif
