/*
 * transport_direct.c - connections from this machine's own addresses.
 *
 * Provides service "transport": one TCP connection from the source address of
 * the VirtualMTA to one address of a host.  It says yes to every route, so it is
 * what is left when no other transport (HAProxy, GreenArrow Proxy) wants one.
 * Called by smtp_client on the loop of the throttle group; keeps no state: an
 * opening under way is the core's ga_connect.
 */
#define GA_LEVEL GA_ABI_STRICT
#include <greenarrow/greenarrow.h>
#include <greenarrow/net.h>
#include <greenarrow/run.h>
#include <greenarrow/service/transport.h>

static bool
direct_serves(const struct ga_route *route)
{
	return true;
}

/* An opening is the core's ga_connect seen under the service's name. */
static struct ga_transport_open *
direct_open(struct ga_worker *w, const struct ga_transport_target *target, ga_connect_fn *cb,
    void *arg)
{
	return (struct ga_transport_open *)(void *)ga_connect(w, target->address,
	    &target->source->address, target->timeout_ms, cb, arg);
}

static void
direct_cancel(struct ga_transport_open *opening)
{
	ga_connect_cancel((struct ga_connect *)(void *)opening);
}

static const struct ga_transport direct_service = {
	.size = sizeof(struct ga_transport),
	.version = GA_TRANSPORT_VERSION,
	.serves = direct_serves,
	.open = direct_open,
	.cancel = direct_cancel,
};

static bool
direct_init(struct ga_inst *inst, const void *conf)
{
	ga_service_provide(inst, GA_TRANSPORT_SERVICE, GA_TRANSPORT_VERSION, &direct_service);
	return true;
}

GA_MODULE(transport_direct, "1.0.0", "", GA_NO_HOOKS, GA_NO_DIRECTIVES,
    .summary = "connections from this machine's own addresses",
    .flags = GA_KEEP_INSTANCE,
    .init = direct_init);
