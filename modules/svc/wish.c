/*
 * wish.c - see wish.h.  Called by svc.c; pure.
 *
 * As supervise(8) has it, where TERM ends a process and a process that ends is started
 * again while it is wanted up: -t restarts, -d and -u one after the other restart, -o and then
 * -t is down.
 */
#include "wish.h"

bool
svc_wish_take(struct svc_wish *w, char octet)
{
	switch (octet) {
	case 'u':
		w->up = true;
		w->once = false;
		return true;
	case 'd':
		w->up = w->once = false;
		w->anew = true;
		return true;
	case 'o':
		w->up = w->once = true;
		return true;
	case 't':
		w->anew = true;
		w->up = w->up && !w->once;
		return true;
	case 'h':
		w->reload = true;
		return true;
	default:
		return false;
	}
}

enum svc_step
svc_wish_step(const struct svc_wish *w, bool up)
{
	if (!w->up)
		return up ? SVC_DOWN : SVC_REST;
	if (!up)
		return SVC_UP;
	return w->anew ? SVC_RESTART : SVC_REST;
}

char
svc_wish_want(const struct svc_wish *w)
{
	if (w->once)
		return '\0';
	return w->up ? 'u' : 'd';
}
