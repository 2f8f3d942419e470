/*
 * loader.c - opens modules with libltdl and copies what they declare.
 *
 * By the time a file gets here its manifest was read and accepted without
 * running it.  What is checked here is that the code says the same: name, ABI,
 * size, manifest.  The descriptor and its hook table are copied into structs of
 * our size, so that what an older module lacks is zero.
 *
 * libltdl opens lazily and reports "file not found" for anything; so a failure
 * is tried again with dlopen() only to learn the reason.  Modules are resident:
 * never closed.  Main thread only.
 */
#include "config.h"

#include <dlfcn.h>
#include <ltdl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "module/loader.h"

static struct gac_code *modules[GAC_MODULES_MAX];
static unsigned count;


bool
gac_loader_init(char *err, size_t room)
{
	unsetenv("LTDL_LIBRARY_PATH");
	if (lt_dlinit() != 0) {
		snprintf(err, room, "libltdl: %s", lt_dlerror());
		return false;
	}
	return true;
}

struct gac_code *
gac_loader_find(const char *name)
{
	for (unsigned i = 0; i < count; i++)
		if (strcmp(modules[i]->desc.head.name, name) == 0)
			return modules[i];
	return NULL;
}

struct gac_code *
gac_loader_nth(unsigned index)
{
	return index < count ? modules[index] : NULL;
}

static lt_dlhandle
open_file(const char *name, const char *path)
{
	lt_dladvise advise;
	lt_dlhandle handle = NULL;

	if (lt_dladvise_init(&advise) != 0)
		return NULL;
	lt_dladvise_local(&advise);
	lt_dladvise_resident(&advise);
	if (path == NULL) {
		char preloaded[256];

		lt_dladvise_preload(&advise);
		snprintf(preloaded, sizeof preloaded, "%s.a", name);
		handle = lt_dlopenadvise(preloaded, advise);
	} else {
		handle = lt_dlopenadvise(path, advise);
	}
	lt_dladvise_destroy(&advise);
	return handle;
}

static void
why_not(const char *path, char *err, size_t room)
{
	const char *first = lt_dlerror();
	void *handle;

	if (path != NULL) {
		handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
		if (handle == NULL) {
			snprintf(err, room, "%s", dlerror());
			return;
		}
	}
	snprintf(err, room, "%s", first != NULL ? first : "cannot be opened");
}

/* What the code says must be what the file said. */
static bool
agrees(const struct ga_module *m, const char *name, struct ga_str manifest, char *err, size_t room)
{
	if (m->head.magic != GA_MAGIC)
		snprintf(err, room, "descriptor: expected magic 0x%x, found 0x%x", GA_MAGIC, m->head.magic);
	else if (m->head.abi_major != GA_ABI_MAJOR || m->head.abi_minor > GA_ABI_MINOR)
		snprintf(err, room, "descriptor: expected ABI %d.%d, found %d.%d", GA_ABI_MAJOR,
		    GA_ABI_MINOR, m->head.abi_major, m->head.abi_minor);
	else if (m->head.size < offsetof(struct ga_module, conf))
		snprintf(err, room, "descriptor: truncated (%u octets)", m->head.size);
	else if (m->head.name == NULL || strcmp(m->head.name, name) != 0)
		snprintf(err, room, "descriptor: expected name \"%s\", found \"%s\"", name,
		    m->head.name != NULL ? m->head.name : "");
	else if (manifest.n > 0 && (m->manifest == NULL ||
	    strstr(m->manifest, "GreenArrowModule\002") != m->manifest ||
	    strncmp(m->manifest + sizeof "GreenArrowModule\002" - 1, manifest.p, manifest.n) != 0))
		snprintf(err, room, "the manifest of the code is not that of the file");
	else
		return true;
	return false;
}

static struct gac_code *
adopt_code(const struct ga_module *m, const char *path)
{
	struct gac_code *mod = ga_xcalloc(1, sizeof *mod);
	size_t n = m->head.size < sizeof mod->desc ? m->head.size : sizeof mod->desc;

	memcpy(&mod->desc, m, n);
	if (mod->desc.hooks != NULL) {
		n = mod->desc.hooks->size < sizeof mod->hooks ? mod->desc.hooks->size : sizeof mod->hooks;
		memcpy(&mod->hooks, mod->desc.hooks, n);
	}
	mod->path = path != NULL ? strdup(path) : strdup("(built in)");
	mod->index = count;
	modules[count++] = mod;
	return mod;
}

struct gac_code *
gac_loader_open(const char *name, const char *path, struct ga_str manifest, char *err, size_t room)
{
	struct gac_code *known = gac_loader_find(name);
	const struct ga_module *m;
	lt_dlhandle handle;

	if (known != NULL)
		return known;
	if (count == GAC_MODULES_MAX) {
		snprintf(err, room, "more than %d modules", GAC_MODULES_MAX);
		return NULL;
	}
	handle = open_file(name, path);
	if (handle == NULL) {
		why_not(path, err, room);
		return NULL;
	}
	m = lt_dlsym(handle, "ga_module");
	if (m == NULL) {
		snprintf(err, room, "no symbol %s_LTX_ga_module", name);
		return NULL;
	}
	if (!agrees(m, name, manifest, err, room))
		return NULL;
	return adopt_code(m, path);
}

void
gac_loader_free(void)
{
	for (unsigned i = 0; i < count; i++) {
		free((void *)(uintptr_t)modules[i]->path);
		free(modules[i]);
	}
	count = 0;
	lt_dlexit();
}
