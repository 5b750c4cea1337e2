/** Lookup KIND NAME by Java's InetAddress. Prints a line for each answer, or `missing`. */
import java.net.InetAddress;
import java.net.UnknownHostException;

public final class Lookup {
    public static void main(String[] words) {
        try {
            if (words[0].equals("ptr")) {
                String name = InetAddress.getByName(words[1]).getCanonicalHostName();
                System.out.println(name.equals(words[1]) ? "missing" : name);
                return;
            }
            for (InetAddress address : InetAddress.getAllByName(words[1])) {
                System.out.println(address.getHostAddress());
            }
        } catch (UnknownHostException error) {
            // "Temporary failure" is no answer; all else is that there is none.
            String why = String.valueOf(error.getMessage());
            System.out.println(why.contains("Temporary") ? "failed " + why : "missing");
        }
    }
}
