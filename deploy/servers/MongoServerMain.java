// A server that speaks MongoDB's protocol: mongo-java-server with its data in a file, or in memory.
//
// Belongs here: what mongo-java-server's own mains do not offer: the port, the file, and the wire version that today's
// drivers ask for (its own is too old for them). Does not belong here: fetching, compiling, starting (mongodb.py).

import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.AbstractMongoBackend;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;
import java.util.List;

public final class MongoServerMain {
    /** MongoDB 5.0, wire version 13: what the commands answered here amount to. */
    private static final MongoVersion VERSION =
            new MongoVersion() {
                @Override
                public List<Integer> getVersionArray() {
                    return List.of(5, 0, 0);
                }

                @Override
                public int getWireVersion() {
                    return 13;
                }
            };

    /** Arguments: port, and optionally a file to keep the data in. */
    public static void main(String[] arguments) {
        AbstractMongoBackend backend =
                arguments.length > 1 ? new H2Backend(arguments[1]) : new MemoryBackend();
        backend.version(VERSION);
        MongoServer server = new MongoServer(backend);
        server.bind("127.0.0.1", Integer.parseInt(arguments[0]));
        Runtime.getRuntime().addShutdownHook(new Thread(server::shutdownNow));
    }
}
