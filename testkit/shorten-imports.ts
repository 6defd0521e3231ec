/** To be loaded before anything else: 0.5 s less in a process that loads the server (Node 26). */
import { shortenImports } from "../bin/shorten-imports.js";

shortenImports();
