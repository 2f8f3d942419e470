/*
 * loader.h - opening modules.  libltdl is behind these five functions.
 */
#ifndef CORE_MODULE_LOADER_H
#define CORE_MODULE_LOADER_H

#include "module/inst.h"

/* Main thread, first thing: forgets what the environment says about where
 * libraries are, and makes preloaded modules known. */
bool gac_loader_init(char *err, size_t room);
/*
 * The module's code, opened if it is not yet.  path: absolute, already checked
 * (conf/manifest.h), or NULL when it is linked in.  manifest: the text read from
 * the file, which must be the text that the code points at.  NULL: err says why.
 */
struct gac_code *gac_loader_open(const char *name, const char *path, struct ga_str manifest,
    char *err, size_t room);
struct gac_code *gac_loader_find(const char *name);
/* By index, 0 ..; NULL behind the last. */
struct gac_code *gac_loader_nth(unsigned index);
void gac_loader_free(void);

#endif
