from nws.cli import main

main()
